"""EnCodec's balancer: every loss gets its share of the gradient at the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.functional.output_gradients import (
    output_gradients,
    refuse_norms,
    stored,
    total,
    weighted,
    widened,
)

__all__ = ["BalancedLoss", "LossBalancer"]


class BalancedLoss(NamedTuple):
    """A loss to call ``backward()`` on; and by the names of the losses, detached and on their
    device, what each was multiplied by and the mean norm of its gradients that this came from."""

    loss: Tensor
    weights: dict[str, Tensor]
    norms: dict[str, Tensor]


class LossBalancer(torch.nn.Module):
    """Losses of any scale, each of which gives a fixed share of the gradient at the output.

    The gradient g_k of loss k at the output is multiplied by
    total_norm * (w_k / sum_j w_j) / (<||g_k||> + eps), with <||g_k||> the running mean of its norm
    (Défossez et al. 2022, arXiv:2210.13438, eq. 4). Each loss is differentiated once, as far as the
    output; the sum goes once through the network behind it, in the ``backward()`` of the result:

        balancer = ganfast.LossBalancer({"l1": 0.1, "adversarial": 3.0, "features": 3.0})
        output = decoder(encoder(audio))
        losses = {"l1": F.l1_loss(output, audio), "adversarial": ..., "features": ...}
        (balancer(losses, output).loss + commitment_loss).backward()

    The running means are part of the ``state_dict``. A norm that is not finite, as when GradScaler
    looks for its scale, does not enter them. Nothing waits for the device. Under torch.distributed
    the norms are those of all processes, so every process has the same weights; as in EnCodec, a
    sample's gradient is that of its own process's loss.

    Args:
        weights: the share of each loss, >= 0, by its name.
        total_norm: the norm that the shares are of.
        decay: of the running means, in [0, 1); they are corrected for their start at 0.
        per_sample: whether a norm is the mean over samples (the first dimension of the output) of
            each one's norm, as in EnCodec, or that of the whole batch.
        eps: added to a mean norm.
        all_reduce, group: as for :func:`ganfast.functional.adaptive_weight`.

    Raises:
        ValueError: no weights, or numbers out of their range.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        total_norm: float = 1.0,
        decay: float = 0.999,
        per_sample: bool = True,
        eps: float = 1e-12,
        all_reduce: bool = True,
        group: Any = None,
    ) -> None:
        super().__init__()
        self.weights = {
            name: _checks.number(f"weights[{name!r}]", weight, least=0)
            for name, weight in weights.items()
        }
        if not sum(self.weights.values()):
            raise InputError(f"weights: got {dict(weights)}; give at least one above 0")
        self.total_norm = _checks.number("total_norm", total_norm, above=0)
        self.decay = _checks.number("decay", decay, least=0, below=1)
        self.per_sample = _checks.flag("per_sample", per_sample)
        self.eps = _checks.number("eps", eps, least=0)
        self.all_reduce, self.group = _checks.flag("all_reduce", all_reduce), group
        # The decayed sum of each loss's norms and of their number.
        self.register_buffer("sums", torch.zeros(len(self.weights)))
        self.register_buffer("counts", torch.zeros(len(self.weights)))

    sums: Tensor
    counts: Tensor

    def forward(
        self,
        losses: Mapping[str, Tensor],
        output: Tensor,
        *,
        scale: float | Tensor = 1.0,
        parameters: Sequence[Tensor] = (),
        check_norms: bool = False,
    ) -> BalancedLoss:
        """The balanced sum of ``losses``, whose graphs are freed.

        Args:
            losses: 0-d losses by name, each of which has a weight; some may be left out.
            output: the tensor that they depend on, of any shape.
            scale, parameters, check_norms: as for :func:`ganfast.functional.adaptive_weight`. The
                ``parameters`` get the gradients of the losses times the same weights.

        Returns:
            a :class:`BalancedLoss`. Its ``loss``, 0-d, is the sum of weight * loss and cannot be
            differentiated twice.

        Raises:
            ValueError: no losses, one without a weight, or a 0-d output where norms are per sample;
                and as for :func:`ganfast.functional.adaptive_weight`.
            DivergedError: with ``check_norms``, a norm of 0 or one that is not finite.
        """
        for name in losses:
            if name not in self.weights:
                raise InputError(
                    f"losses: got {name!r}, which has no weight; the losses are "
                    f"{', '.join(self.weights)}{_checks.suggestion(name, self.weights)}"
                )
        if not losses:
            raise InputError(f"losses: got none; give some of {', '.join(self.weights)}")
        named = {f"losses[{name!r}]": loss for name, loss in losses.items()}
        found = output_gradients(named, output, parameters, scale)
        norms = self._norms([widened(each[0]) for each in found])
        if check_norms:
            refuse_norms(list(named), norms)
        means = self._running_means(list(losses), norms)
        shares = [self.weights[name] for name in losses]
        whole = sum(shares) or 1.0
        factors = [
            self.total_norm * share / whole / (mean + self.eps)
            for share, mean in zip(shares, means.unbind(), strict=True)
        ]
        loss = weighted(named, found, factors, output, parameters)
        by_name = (dict(zip(losses, each, strict=True)) for each in (factors, means.unbind()))
        return BalancedLoss(loss, *by_name)

    def _norms(self, gradients: list[Tensor]) -> Tensor:
        """One for each gradient, of all processes together."""
        if not self.per_sample:
            squares = torch.stack([g.square().sum() for g in gradients])
            return total(squares, self.all_reduce, self.group, power=2).sqrt()
        if gradients[0].dim() == 0:
            raise InputError("output: is 0-d, and has no samples; give per_sample=False")
        sums = [g.reshape(len(g), -1).norm(dim=1).sum() for g in gradients]
        samples = torch.full_like(sums[0], len(gradients[0]))
        *of_all, count = total(torch.stack([*sums, samples]), self.all_reduce, self.group).unbind()
        return torch.stack(of_all) / count

    def _running_means(self, names: list[str], norms: Tensor) -> Tensor:
        """With ``norms`` taken in."""
        # float32 even where the module was made half: a mean of thousands needs it.
        kept = [x.to(norms.device, torch.float32).unbind() for x in (self.sums, self.counts)]
        state = dict(zip(self.weights, zip(*kept, strict=True), strict=True))
        means = []
        for name, norm in zip(names, norms.unbind(), strict=True):
            summed, count = state[name]
            finite = norm.isfinite()
            summed = torch.where(finite, self.decay * summed + norm, summed).float()
            count = torch.where(finite, self.decay * count + 1.0, count)
            state[name] = summed, count
            means.append((summed / count).to(norms.dtype))
        sums, counts = zip(*state.values(), strict=True)
        self.sums = stored(self.sums, torch.stack(sums))
        self.counts = stored(self.counts, torch.stack(counts))
        return torch.stack(means)

    def extra_repr(self) -> str:
        return f"{self.weights}, total_norm={self.total_norm}, decay={self.decay}"
