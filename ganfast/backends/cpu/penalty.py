"""The interpolation and the penalty: allocate the results."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast._philox import Key
from ganfast.backends.cpu.layout import DTYPES, any_layout
from ganfast.reference.losses import accumulation_dtype
from ganfast.reference.penalty import PenaltySpec

_interpolate = any_layout(_cpu.interpolate, rows=2)
_interpolate_gradient = any_layout(_cpu.interpolate_gradient, outputs=2)
_penalty = any_layout(_cpu.penalty, outputs=2)
_penalty_gradient = any_layout(_cpu.penalty_gradient)
_penalty_second_order = any_layout(_cpu.penalty_second_order, outputs=2, rows=4)

# torch.empty_like beats torch.empty. The device is named, since the default one may be another.
_SCALAR = {
    dtype: torch.empty((), dtype=accumulation_dtype(dtype), device="cpu") for dtype in DTYPES
}


def interpolate(real: Tensor, fake: Tensor, key: Key, group_size: int) -> Tensor:
    """As in the reference."""
    out = torch.empty_like(real)
    _interpolate(key, group_size, real, fake, out)
    return out


def interpolate_gradient(
    grad: Tensor, key: Key, group_size: int, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """As in the reference."""
    of_real = torch.empty_like(grad) if needed[0] else None
    of_fake = torch.empty_like(grad) if needed[1] else None
    _interpolate_gradient(key, group_size, grad, of_real, of_fake)
    return of_real, of_fake


def _numbers(x: Tensor, spec: PenaltySpec) -> tuple[int, float, bool, float]:
    return x.size(0) // spec.group_size, spec.target, spec.one_sided, spec.weight


def penalty(x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """As in the reference."""
    value = torch.empty_like(_SCALAR[x.dtype])
    groups, *numbers = _numbers(x, spec)
    norms = value.new_empty(groups)
    _penalty(groups, *numbers, x, norms, value)
    return value, norms


def penalty_gradient(grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec) -> Tensor:
    """As in the reference, from the norms that :func:`penalty` gave."""
    out = torch.empty_like(x)
    _penalty_gradient(*_numbers(x, spec), x, norms, grad, out)
    return out


def penalty_second_order(
    v: Tensor, grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec
) -> tuple[Tensor, Tensor]:
    """As in the reference, from the norms of :func:`penalty`."""
    of_grad, of_x = torch.empty_like(_SCALAR[x.dtype]), torch.empty_like(x)
    _penalty_second_order(*_numbers(x, spec), x, norms, grad, v, of_grad, of_x)
    return of_grad, of_x
