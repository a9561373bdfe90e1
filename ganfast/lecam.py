"""LeCAM: a discriminator held near the running means of its own scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganfast import _checks
from ganfast._dispatch import FLOATING
from ganfast.errors import InputError, InputTypeError
from ganfast.functional.output_gradients import stored, total, widened

__all__ = ["LeCAM"]


class LeCAM(torch.nn.Module):
    """weight * (E[max(0, D(x) - a_fake)^2] + E[max(0, a_real - D(G(z)))^2]), for few data.

    a_real and a_fake are running means of D's scores of real and of generated samples, so the
    penalty holds each side near where the other one has been. Tseng et al. 2021, arXiv:2104.03310,
    eq. 3; that equation has no max, which their code has: ``one_sided=False`` is the equation.

        lecam = ganfast.LeCAM(weight=0.3)
        real, fake = critic(images), critic(generator(z).detach())
        (GF.discriminator_loss(real, fake, game="hinge") + lecam(real, fake)).backward()

    In training mode each call takes its scores into the means, after they have been used. The means
    are part of the ``state_dict``; scores that are not finite do not enter them. Nothing waits for
    the device. Under torch.distributed they are the means of all processes.

    Args:
        weight: multiplies the penalty, >= 0.
        decay: of the running means, in [0, 1); they are corrected for their start at 0.
        start: the penalty is 0 in so many first calls, at least 1, while the means settle.
        one_sided: as above.
        heads: of the discriminator; each has means of its own, and the penalty is the mean over
            them.
        all_reduce, group: as for :func:`ganfast.functional.adaptive_weight`.

    Raises:
        ValueError: numbers out of their range.
    """

    def __init__(
        self,
        weight: float = 0.3,
        *,
        decay: float = 0.99,
        start: int = 1,
        one_sided: bool = True,
        heads: int = 1,
        all_reduce: bool = True,
        group: Any = None,
    ) -> None:
        super().__init__()
        self.weight = _checks.number("weight", weight, least=0)
        self.decay = _checks.number("decay", decay, least=0, below=1)
        self.start = _checks.integer("start", start, least=1)
        self.one_sided = _checks.flag("one_sided", one_sided)
        self.heads = _checks.integer("heads", heads, least=1)
        self.all_reduce, self.group = _checks.flag("all_reduce", all_reduce), group
        # Real, fake: the decayed sum of the means of each head's scores, and of their number.
        self.register_buffer("sums", torch.zeros(2, self.heads))
        self.register_buffer("counts", torch.zeros(2, self.heads))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    sums: Tensor
    counts: Tensor
    calls: Tensor

    def forward(self, real: Tensor | Sequence[Tensor], fake: Tensor | Sequence[Tensor]) -> Tensor:
        """The penalty of one batch.

        Args:
            real: scores D(x), raw, of any shape; a list or tuple of ``heads`` of them.
            fake: scores D(G(z)), likewise; the batch need not be as large.

        Returns:
            a 0-d tensor: float64 for float64, else float32. Differentiable to any order.

        Raises:
            ValueError: another number of heads, scores that are not floating point or are empty.
            TypeError: what is no tensor.
        """
        sides = [self._heads("real", real), self._heads("fake", fake)]
        device = sides[0][0].device
        # float32 even where the module was made half: a mean of hundreds needs it.
        sums, counts = (x.to(device, torch.float32) for x in (self.sums, self.counts))
        calls = self.calls.to(device)
        known = (calls >= self.start) & (counts > 0).all()
        centres = torch.where(known, sums / counts.clamp(min=1.0), 0.0)
        above = [x - centres[1, head] for head, x in enumerate(sides[0])]
        below = [centres[0, head] - x for head, x in enumerate(sides[1])]
        excess = [e.relu() if self.one_sided else e for e in (*above, *below)]
        penalties = torch.stack([e.square().mean() for e in excess])
        penalty = torch.where(known, self.weight / self.heads * penalties.sum(), 0.0)
        if self.training:
            with torch.no_grad():
                means = torch.stack([torch.stack([x.mean() for x in side]) for side in sides])
                means = total(means, self.all_reduce, self.group).float()
                finite = means.isfinite()
                new_sums = torch.where(finite, self.decay * sums + means, sums)
                new_counts = torch.where(finite, self.decay * counts + 1.0, counts)
                self.sums = stored(self.sums, new_sums)
                self.counts = stored(self.counts, new_counts)
                self.calls = stored(self.calls, calls + 1)
        return penalty

    def _heads(self, name: str, scores: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Checked and widened."""
        heads = [scores] if isinstance(scores, Tensor) else scores
        if not isinstance(heads, (list, tuple)) or not all(isinstance(x, Tensor) for x in heads):
            raise InputTypeError(
                f"{name}: got a {type(scores).__name__}; give a tensor of scores, or a list or "
                "tuple of them"
            )
        if len(heads) != self.heads:
            raise InputError(f"{name}: has {len(heads)} heads; give {self.heads}, or LeCAM(heads=)")
        for x in heads:
            if x.dtype not in FLOATING:
                raise InputError(f"{name}: got {x.dtype} scores; give floating-point ones")
            if x.numel() == 0:
                raise InputError(f"{name}: is empty, and the mean of nothing is undefined")
        return [widened(x) for x in heads]

    def extra_repr(self) -> str:
        return f"weight={self.weight}, decay={self.decay}, start={self.start}"
