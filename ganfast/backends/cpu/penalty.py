"""The interpolation and the penalty: allocate the results, find rows in any layout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast._philox import Key
from ganfast._rows import are_rows, flat, like
from ganfast.backends.cpu.dtypes import CODE
from ganfast.reference import PenaltySpec

_MASK = 0xFFFFFFFFFFFFFFFF

# torch.empty_like beats torch.empty. The device is named, since the default one may be another.
_SCALAR = {
    dtype: torch.empty((), dtype=wide, device="cpu")
    for dtype, wide in zip(CODE, (torch.float32, torch.float64, *(torch.float32,) * 2), strict=True)
}


def interpolate(real: Tensor, fake: Tensor, key: Key, group_size: int) -> Tensor:
    """As :func:`ganfast.reference.interpolate`."""
    out = torch.empty_like(real)
    samples = real.shape[0]
    common = int(key) & _MASK, CODE[real.dtype], torch.get_num_threads(), samples, group_size
    if samples == 0 or _cpu.interpolate(*common, real, fake, out):
        return out
    real = real.resolve_neg()
    if are_rows(real):
        real = like(real, out)
        _cpu.interpolate(*common, flat(real), flat(like(fake, out)), flat(out))
        return out
    return out.copy_(interpolate(real.contiguous(), fake.contiguous(), key, group_size))


def interpolate_gradient(
    grad: Tensor, key: Key, group_size: int, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """As :func:`ganfast.reference.interpolate_gradient`."""
    samples = grad.shape[0]
    common = int(key) & _MASK, CODE[grad.dtype], torch.get_num_threads(), samples, group_size
    grad = grad.resolve_neg()
    if not are_rows(grad):
        grad = grad.contiguous()
    of_real = torch.empty_like(grad) if needed[0] else None
    of_fake = torch.empty_like(grad) if needed[1] else None
    if samples and not _cpu.interpolate_gradient(*common, grad, of_real, of_fake):
        outs = (None if x is None else flat(x) for x in (of_real, of_fake))
        _cpu.interpolate_gradient(*common, flat(grad), *outs)
    return of_real, of_fake


def _common(x: Tensor, spec: PenaltySpec) -> tuple[int, int, int, float, bool, float]:
    rows = x.shape[0] // spec.group_size
    threads = torch.get_num_threads()
    return CODE[x.dtype], threads, rows, spec.target, spec.one_sided, spec.weight


def _plain(x: Tensor) -> Tensor:
    """``x`` as contiguous memory, in which each sample is a row in some order of its elements."""
    x = x.resolve_neg()
    return flat(x) if are_rows(x) else x.contiguous()


def penalty(x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """As :func:`ganfast.reference.penalty`."""
    scalar = _SCALAR[x.dtype]
    value = torch.empty_like(scalar)
    norms = scalar.new_empty(x.shape[0] // spec.group_size)
    common = _common(x, spec)
    if not _cpu.penalty(*common, x, norms, value):
        _cpu.penalty(*common, _plain(x), norms, value)
    return value, norms


def penalty_gradient(grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec) -> Tensor:
    """As :func:`ganfast.reference.penalty_gradient`, from the norms that :func:`penalty` gave."""
    common = _common(x, spec)
    if x.is_contiguous():
        out = torch.empty_like(x)
        if _cpu.penalty_gradient(*common, x, norms, grad, out):
            return out
    x = x.resolve_neg()
    x = x if are_rows(x) else x.contiguous()
    out = torch.empty_like(x)
    _cpu.penalty_gradient(*common, flat(x), norms, grad.resolve_neg(), flat(out))
    return out


def penalty_second_order(
    v: Tensor, grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec
) -> tuple[Tensor, Tensor]:
    """As :func:`ganfast.reference.penalty_second_order`, from the norms of :func:`penalty`."""
    x = x.resolve_neg()
    x = x if are_rows(x) else x.contiguous()
    of_grad, of_x = torch.empty_like(_SCALAR[x.dtype]), torch.empty_like(x)
    tensors = flat(x), norms, grad.resolve_neg(), flat(like(v, x)), of_grad, flat(of_x)
    _cpu.penalty_second_order(*_common(x, spec), *tensors)
    return of_grad, of_x
