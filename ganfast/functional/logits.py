"""What a loss is given: logits in one tensor, or in a list or tuple of a tensor for each head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganfast._dispatch import FLOATING
from ganfast.errors import InputError, InputTypeError

Logits = Tensor | Sequence[Tensor]


def pair_of_heads(real: Logits, fake: Logits) -> tuple[Tensor, ...]:
    """The heads of one side, then those of the other; InputError unless both have as many."""
    reals, fakes = heads_of(real, "real"), heads_of(fake, "fake")
    if isinstance(real, Tensor) or isinstance(fake, Tensor) or len(reals) != len(fakes):
        raise InputError(
            f"real, fake: got {_count(real)} and {_count(fake)}; give both sides the same heads"
        )
    return reals + fakes


def heads_of(logits: Logits, name: str) -> tuple[Tensor, ...]:
    """The tensors of ``logits``."""
    if isinstance(logits, Tensor):
        return (logits,)
    if not isinstance(logits, (list, tuple)) or not all(isinstance(x, Tensor) for x in logits):
        cure = "give a tensor or a list of tensors"
        if isinstance(logits, dict):
            tensors = ", ".join(repr(key) for key, x in logits.items() if isinstance(x, Tensor))
            cure = f"give the scores alone, one of {tensors}" if tensors else cure
        raise InputTypeError(f"{name}: got {_count(logits)}; {cure}")
    if not logits:
        raise InputError(f"{name}: got an empty {type(logits).__name__}; give at least one head")
    return tuple(logits)


def _count(logits: Any) -> str:
    if isinstance(logits, Tensor):
        return "a tensor"
    if isinstance(logits, (list, tuple)) and all(isinstance(x, Tensor) for x in logits):
        return f"a {type(logits).__name__} of {len(logits)} tensors"
    return f"a {type(logits).__name__}"


def check_logits(logits: tuple[Tensor, ...], reduction: str, sides: tuple[str, ...]) -> None:
    """One floating dtype and one device; InputError where not, or where a mean is of nothing."""
    first = logits[0]
    dtype, mean = first.dtype, reduction == "mean"
    if dtype in FLOATING:
        on_cpu = first.is_cpu  # compared in half the time that devices take
        for x in logits:
            if x is not first and (
                x.dtype is not dtype or not (on_cpu and x.is_cpu or x.device == first.device)
            ):
                break
            if mean and not x.numel():
                break
        else:
            return
    _complain(logits, sides)


def _complain(logits: tuple[Tensor, ...], sides: tuple[str, ...]) -> None:
    """The error for the first of ``logits`` that :func:`check_logits` did not accept."""
    first = logits[0]
    for index, x in enumerate(logits):
        name = sides[index * len(sides) // len(logits)]
        if x.dtype not in FLOATING:
            raise InputError(
                f"{name}: got {x.dtype} logits; "
                "give float32, float64, float16 or bfloat16 (x.float())"
            )
        if x.dtype != first.dtype:
            raise InputError(
                f"{name}: got {x.dtype} where {sides[0]} is {first.dtype}; give both one dtype"
            )
        if x.device != first.device:
            raise InputError(
                f"{name}: is on {x.device} but {sides[0]} is on {first.device}; move one of them"
            )
    for index, x in enumerate(logits):
        if x.numel() == 0:
            name = sides[index * len(sides) // len(logits)]
            raise InputError(
                f"{name}: is empty (shape {tuple(x.shape)}), and the mean of nothing is undefined; "
                "give at least one logit or reduction='sum'"
            )


def check_pairs(logits: tuple[Tensor, ...], sides: tuple[str, ...]) -> None:
    """InputError unless each tensor of one side has the shape of its partner on the other.

    Broadcasting would compare every sample with every other, (n,) with (n, 1), and say nothing.
    """
    heads = len(logits) // 2
    for x, y in zip(logits[:heads], logits[heads:], strict=True):
        if x.shape != y.shape:
            raise InputError(
                f"{sides[0]}, {sides[1]}: got shapes {tuple(x.shape)} and {tuple(y.shape)}, but "
                "game='relativistic' compares the logits in pairs; give both sides one shape, or "
                "play 'relativistic_average', which compares means"
            )
