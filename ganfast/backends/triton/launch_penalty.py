"""The host's part of the interpolation and the penalty: rows in any layout, outputs, the launch.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from ganfast._philox import Key
from ganfast._rows import are_rows, like
from ganfast.backends.triton.interpolate import interpolate_gradient_kernel, interpolate_kernel
from ganfast.backends.triton.launch import _BLOCK_LOG2, _bits, _counter, _on_device
from ganfast.backends.triton.penalty import (
    long_penalty_kernel,
    penalty_gradient_kernel,
    penalty_second_order_kernel,
    short_penalty_kernel,
)
from ganfast.reference import PenaltySpec

_MOST_PROGRAMS = 4096
"""A penalty over longer rows gives more blocks to each program; see launch._MAX_PROGRAMS."""

_LAUNCH = {"num_warps": 4, "enable_fp_fusion": True}


def interpolate(real: Tensor, fake: Tensor, key: Key, group_size: int) -> Tensor:
    """As :func:`ganfast.reference.interpolate`."""
    real = real.resolve_neg()
    out = torch.empty_like(real)
    if real.numel() == 0:
        return out
    if not are_rows(real):
        return out.copy_(interpolate(real.contiguous(), fake.contiguous(), key, group_size))
    fake = like(fake, real)
    grid, shape, options = _elementwise(real, real.shape[0])
    with _on_device(real.device):
        interpolate_kernel[(grid,)](
            out, real, fake, *_key_and(shape, group_size, key), **options, **_LAUNCH
        )
    return out


def interpolate_gradient(
    grad: Tensor, key: Key, group_size: int, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """As :func:`ganfast.reference.interpolate_gradient`."""
    grad = _rows(grad)
    of_real = torch.empty_like(grad) if needed[0] else None
    of_fake = torch.empty_like(grad) if needed[1] else None
    if grad.numel() == 0 or not any(needed):
        return of_real, of_fake
    grid, shape, options = _elementwise(grad, grad.shape[0])
    with _on_device(grad.device):
        interpolate_gradient_kernel[(grid,)](
            of_real, of_fake, grad, *_key_and(shape, group_size, key), **options, **_LAUNCH
        )
    return of_real, of_fake


def penalty(x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """As :func:`ganfast.reference.penalty`."""
    x = _rows(x)
    wide = x.dtype == torch.float64
    rows, length = _matrix(x, spec)
    scalars = torch.float64 if wide else torch.float32
    value = torch.empty((), dtype=scalars, device=x.device)
    norms = value.new_empty(rows)
    block = 1 << _BLOCK_LOG2[wide]
    numbers = length, rows, _bits(spec.target), _bits(spec.weight / rows)
    with _on_device(x.device):
        if length <= block:
            width = triton.next_power_of_2(max(1, length))
            together = block // width
            programs = triton.cdiv(rows, together)
            single = programs == 1
            partials = None if single else value.new_empty(programs)
            counter = None if single else _counter(x.device, once=True)
            short_penalty_kernel[(programs,)](
                value, norms, partials, counter, x, *numbers, programs,
                ONE_SIDED=spec.one_sided, SINGLE=single, WIDE=wide, WIDTH=width, TOGETHER=together,
                **_LAUNCH,
            )  # fmt: skip
            return value, norms
        blocks = triton.cdiv(length, block)
        loops = triton.cdiv(blocks, max(1, _MOST_PROGRAMS // rows))
        parts = triton.cdiv(blocks, loops)
        programs = rows * parts
        long_penalty_kernel[(programs,)](
            value, norms, value.new_empty(programs), _counter(x.device, once=True), x,
            *numbers, programs, parts, loops,
            ONE_SIDED=spec.one_sided, WIDE=wide, BLOCK_LOG2=_BLOCK_LOG2[wide],
            **_LAUNCH,
        )  # fmt: skip
    return value, norms


def penalty_gradient(grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec) -> Tensor:
    """As :func:`ganfast.reference.penalty_gradient`, from the norms that :func:`penalty` gave."""
    x = _rows(x)
    out = torch.empty_like(x)
    if x.numel() == 0:
        return out
    rows, _ = _matrix(x, spec)
    grid, shape, options = _elementwise(x, rows)
    with _on_device(x.device):
        penalty_gradient_kernel[(grid,)](
            out, x, norms, grad.resolve_neg(), *shape, rows, _bits(spec.target),
            _bits(spec.weight / rows), CENTRED=spec.target == 0, ONE_SIDED=spec.one_sided,
            **options, **_LAUNCH,
        )  # fmt: skip
    return out


def penalty_second_order(
    v: Tensor, grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec
) -> tuple[Tensor, Tensor]:
    """As :func:`ganfast.reference.penalty_second_order`, from the norms of :func:`penalty`."""
    x = _rows(x)
    v = like(v, x)
    rows, length = _matrix(x, spec)
    of_grad, of_x = torch.empty_like(grad), torch.empty_like(x)
    wide = x.dtype == torch.float64
    with _on_device(x.device):
        penalty_second_order_kernel[(rows,)](
            of_grad, of_x, torch.empty_like(norms), _counter(x.device, once=True),
            v, x, norms, grad.resolve_neg(),
            length, rows, _bits(spec.target), _bits(spec.weight / rows),
            CENTRED=spec.target == 0, ONE_SIDED=spec.one_sided, WIDE=wide,
            BLOCK_LOG2=_BLOCK_LOG2[wide], **_LAUNCH,
        )  # fmt: skip
    return of_grad, of_x


def _rows(x: Tensor) -> Tensor:
    x = x.resolve_neg()
    return x if are_rows(x) else x.contiguous()


def _matrix(x: Tensor, spec: PenaltySpec) -> tuple[int, int]:
    rows = x.shape[0] // spec.group_size
    return rows, x.numel() // rows


def _elementwise(x: Tensor, rows: int) -> tuple[int, tuple[int, int], dict[str, object]]:
    """The grid over blocks of ``x`` as ``rows`` rows, (length, elements), and the constants."""
    wide = x.dtype == torch.float64
    block_log2 = _BLOCK_LOG2[wide]
    elements = x.numel()
    length = elements // rows
    short = length < 1 << block_log2
    grid = triton.cdiv(elements if short else length, 1 << block_log2) * (1 if short else rows)
    return grid, (length, elements), {"SHORT": short, "WIDE": wide, "BLOCK_LOG2": block_log2}


def _key_and(shape: tuple[int, int], group_size: int, key: Key) -> tuple[object, ...]:
    """key_pointer, length, elements, group, key; the last as a signed 64-bit number."""
    if isinstance(key, Tensor):
        return key, *shape, group_size, 0
    return None, *shape, group_size, (key + 2**63) % 2**64 - 2**63
