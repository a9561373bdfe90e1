"""What every op is compared with: the reference in float64, and the error that torch makes in the
same dtype.

The rule: error(kernel) <= 2 * error(torch, same dtype) + one rounding of the result. Nothing is
compared with an absolute tolerance that someone chose.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import ganfast
import ganfast.functional as GF
from ganfast.games import GAMES

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SIZES = (1, 31, 1024, 1025, 4097)
EXTREMES = (0.0, -0.0, 1.0, -1.0, 30.0, -30.0, 1e4, -1e4, float("inf"), float("-inf"), float("nan"))

FACTOR = 2.0
"""How many times torch's own error is allowed: our log1p has one division and one rounding more."""


def backends(device: str = "cpu") -> list[str]:
    """The backends that serve losses on this machine, the reference apart."""
    rows = ganfast.explain("discriminator_loss", torch.zeros(1, device=device))
    return [name for name, ok, _ in rows if ok and name != "reference"]


LOSSES: dict[str, Callable[..., Tensor]] = {}
"""Every loss of every game as a function of (real, fake, **options): "hinge D", "hinge G", ..."""

for _game in GAMES:
    LOSSES[f"{_game} D"] = lambda real, fake, game=_game, **kw: GF.discriminator_loss(
        real, fake, game=game, **kw
    )
    LOSSES[f"{_game} G"] = lambda real, fake, game=_game, **kw: GF.generator_loss(
        fake, game=game, **kw
    )


OUTCOMES = ("value", "gradient of real", "gradient of fake")


def run(loss: Callable[..., Tensor], real: Tensor, fake: Tensor, **options) -> tuple[Tensor, ...]:
    """What OUTCOMES names; a gradient that does not exist is zero."""
    real, fake = (x.detach().clone().requires_grad_() for x in (real, fake))
    value = loss(real, fake, **options)
    gradients = torch.autograd.grad(value, (real, fake), allow_unused=True)
    filled = (
        torch.zeros_like(x) if g is None else g
        for x, g in zip((real, fake), gradients, strict=True)
    )
    return value.detach(), *filled


def assert_as_good_as_torch(
    kernel: Tensor, torch_: Tensor, truth: Tensor, size: Tensor | float, what: str = "result"
) -> None:
    """The rule above; ``size`` is that of the numbers whose rounding no result escapes."""
    assert kernel.dtype == torch_.dtype and kernel.shape == torch_.shape
    rounded = truth.to(kernel.dtype)
    assert torch.equal(kernel.isnan(), rounded.isnan()), (kernel, rounded)
    infinite = rounded.isinf()
    assert torch.equal(kernel[infinite], rounded[infinite])
    finite = rounded.isfinite()
    assert kernel[finite].isfinite().all()
    error = (kernel.double() - truth)[finite].abs()
    allowed = (torch_.double() - truth)[finite].abs()
    allowed = FACTOR * allowed.max() if allowed.numel() else torch.tensor(0.0)
    # In float64 the truth is torch's own answer, and has an error of its own.
    roundings = 4 if kernel.dtype == torch.float64 else 1
    rounding = roundings * torch.finfo(kernel.dtype).eps * torch.as_tensor(size).double()
    rounding = rounding.expand(truth.shape)[finite]
    worst = (error - allowed - rounding).max() if error.numel() else torch.tensor(-1.0)
    assert worst <= 0, (
        f"{what}: error {error.max():.3g}, allowed {allowed:.3g} + {rounding.max():.3g}"
    )


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
