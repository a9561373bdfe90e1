"""The interpolation and the penalty: allocate the results, find rows in any layout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast._philox import Key, new_key, spare_words
from ganfast._rows import are_rows, like
from ganfast.backends.cpu.dtypes import CODE
from ganfast.reference.penalty import PenaltySpec

_MASK = 0xFFFFFFFFFFFFFFFF

# torch.empty_like beats torch.empty. The device is named, since the default one may be another.
_SCALAR = {
    dtype: torch.empty((), dtype=wide, device="cpu")
    for dtype, wide in zip(CODE, (torch.float32, torch.float64, *(torch.float32,) * 2), strict=True)
}


def interpolate(real: Tensor, fake: Tensor, key: Key, group_size: int) -> Tensor:
    """As in the reference."""
    out = torch.empty_like(real)
    common = int(key) & _MASK, torch.get_num_threads(), group_size
    if _cpu.interpolate(*common, real, fake, out):
        return out
    real = real.resolve_neg()
    if are_rows(real):
        _cpu.interpolate(*common, like(real, out), like(fake, out), out)
        return out
    return out.copy_(interpolate(real.contiguous(), fake.contiguous(), key, group_size))


def draw_and_interpolate(
    real: Tensor, fake: Tensor, generator: torch.Generator | None, group_size: int
) -> Tensor:
    """:func:`interpolate` with a new key: the fewest steps for samples that are laid out alike."""
    if generator is None or generator.device.type == "cpu":
        threads = torch.get_num_threads()
        out = _cpu.draw_and_interpolate(spare_words, generator, threads, group_size, real, fake)
        if out is not None:
            return out
    return interpolate(real, fake, new_key(real.device, generator), group_size)


def interpolate_gradient(
    grad: Tensor, key: Key, group_size: int, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """As in the reference."""
    of_real = torch.empty_like(grad) if needed[0] else None
    of_fake = torch.empty_like(grad) if needed[1] else None
    common = int(key) & _MASK, torch.get_num_threads(), group_size
    if _cpu.interpolate_gradient(*common, grad, of_real, of_fake):
        return of_real, of_fake
    return interpolate_gradient(_plain(grad), key, group_size, needed)


def _common(x: Tensor, spec: PenaltySpec) -> tuple[int, int, float, bool, float]:
    rows = x.shape[0] // spec.group_size
    return torch.get_num_threads(), rows, spec.target, spec.one_sided, spec.weight


def _plain(x: Tensor) -> Tensor:
    """``x`` as a tensor that the kernels take as it stands."""
    return x.resolve_neg().contiguous()


def penalty(x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """As in the reference."""
    scalar = _SCALAR[x.dtype]
    value = torch.empty_like(scalar)
    norms = scalar.new_empty(x.shape[0] // spec.group_size)
    common = _common(x, spec)
    if not _cpu.penalty(*common, x, norms, value):
        _cpu.penalty(*common, _plain(x), norms, value)
    return value, norms


def penalty_gradient(grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec) -> Tensor:
    """As in the reference, from the norms that :func:`penalty` gave."""
    out = torch.empty_like(x)
    if _cpu.penalty_gradient(*_common(x, spec), x, norms, grad, out):
        return out
    return penalty_gradient(grad.resolve_neg(), _plain(x), norms, spec)


def penalty_second_order(
    v: Tensor, grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec
) -> tuple[Tensor, Tensor]:
    """As in the reference, from the norms of :func:`penalty`."""
    x = x.resolve_neg()
    x = x if are_rows(x) else x.contiguous()
    of_grad, of_x = torch.empty_like(_SCALAR[x.dtype]), torch.empty_like(x)
    tensors = x, norms, grad.resolve_neg(), like(v, x), of_grad, of_x
    _cpu.penalty_second_order(*_common(x, spec), *tensors)
    return of_grad, of_x
