"""A test that users can run on their own step: is the penalty's gradient still there?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ganfast.errors import InputError

__all__ = ["check_second_order"]


def check_second_order(
    penalty: Callable[[], Tensor],
    parameters: Iterable[Tensor],
    *,
    step: float = 1e-3,
    tolerance: float = 0.05,
    directions: int = 3,
) -> None:
    """Raise if autograd's gradient of ``penalty()`` is not the slope that its values show.

    Compilers and custom operations have dropped the second derivative without a word (PyTorch's
    issues 181581 and 193279): the penalty then has its right value and trains nothing. This
    compares, along random directions, what backward gives with a central difference of the values,
    which needs the first derivative alone.

        GF.check_second_order(lambda: compiled_penalty(real), critic.parameters())

    Args:
        penalty: gives the same scalar at each call: fix the samples, and the points between them
            (``at="real"``, or a generator that it seeds itself).
        parameters: the critic's weights. They are moved in place and put back exactly.
        step: how far, relative to each weight tensor's root mean square. 1e-3 suits float32.
        tolerance: of the slope, relative to the larger of the two. Kinks (ReLU) and rounding need
            some.
        directions: how many random directions must agree.

    Raises:
        RuntimeError: they do not, or no parameter gets a gradient.
        ValueError: no parameter requires gradients, or the penalty is not a scalar or changes from
            call to call.

    Example:
        >>> critic = torch.nn.Bilinear(2, 2, 1)
        >>> x = torch.randn(16, 2)
        >>> def penalty():
        ...     return GF.gradient_penalty(lambda x: critic(x, x), x, None, at="real")
        >>> check_second_order(penalty, critic.parameters())
    """
    weights = [p for p in parameters if p.requires_grad]
    if not weights:
        raise InputError("parameters: none requires gradients")
    value = penalty()
    if value.numel() != 1 or not torch.equal(value, penalty()):
        raise InputError("penalty: give a function that returns the same scalar at each call")
    if not value.requires_grad:
        raise RuntimeError("the penalty has no gradient: its second order is lost")
    gradients = torch.autograd.grad(value, weights, allow_unused=True)
    if all(g is None for g in gradients):
        raise RuntimeError("no parameter gets a gradient from the penalty: second order is lost")
    source = torch.Generator().manual_seed(0)
    for _ in range(directions):
        moves, slope = [], 0.0
        for weight, gradient in zip(weights, gradients, strict=True):
            noise = torch.randn(weight.shape, generator=source, dtype=torch.float64)
            size = weight.detach().double().square().mean().sqrt().clamp(min=1e-3)
            moves.append((noise.to(weight.device) * size * step).to(weight.dtype))
            if gradient is not None:
                slope += float((moves[-1].double() * gradient.double()).sum())
        seen = (_moved(penalty, weights, moves, 1) - _moved(penalty, weights, moves, -1)) / 2
        # What rounding alone can make of the difference of two values.
        noise_floor = 8 * torch.finfo(value.dtype).eps * abs(float(value.detach()))
        if not abs(seen - slope) <= tolerance * max(abs(seen), abs(slope)) + noise_floor:
            raise RuntimeError(
                f"along a random direction the penalty changes by {seen:.3g} where its gradient "
                f"says {slope:.3g}: second order is lost or wrong"
            )


def _moved(
    penalty: Callable[[], Tensor], weights: list[Tensor], moves: list[Tensor], sign: int
) -> float:
    """The penalty with every weight moved; the weights are put back."""
    with torch.no_grad():
        kept = [w.clone() for w in weights]
        for weight, move in zip(weights, moves, strict=True):
            weight.add_(move, alpha=sign)
    try:
        return float(penalty().detach())
    finally:
        with torch.no_grad():
            for weight, old in zip(weights, kept, strict=True):
                weight.copy_(old)
