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
from ganfast.backends.triton.kernels.interpolate import (
    interpolate_gradient_kernel,
    interpolate_kernel,
)
from ganfast.backends.triton.kernels.penalty import (
    long_penalty_kernel,
    long_product_kernel,
    long_second_order_kernel,
    penalty_gradient_kernel,
    penalty_second_order_kernel,
    short_penalty_kernel,
)
from ganfast.backends.triton.launch import (
    BLOCK_LOG2,
    MAX_PROGRAMS,
    bind,
    bits,
    counter,
    key_argument,
    need_memory,
    on_device,
)
from ganfast.reference.penalty import PenaltySpec

_ROW_OF_ONE = 16
"""Blocks up to which a program of the second order takes a row alone, reading it twice. Longer ones
are shared: two launches, but all of the GPU for a few large images. (Reasoned, not yet
measured.)"""


def interpolate(real: Tensor, fake: Tensor, key: Key, group_size: int) -> Tensor:
    """As in the reference."""
    need_memory((real, fake))
    real = real.resolve_neg()
    out = torch.empty_like(real)
    if real.numel() == 0:
        return out
    if not are_rows(real):
        return out.copy_(interpolate(real.contiguous(), fake.contiguous(), key, group_size))
    fake = like(fake, real)
    grid, shape, options = _elementwise(real, real.shape[0])
    with on_device(real.device):
        pointer, number = key_argument(key)
        bind(interpolate_kernel, **options)(
            real.device, grid, (out, real, fake, pointer), *shape, group_size, number
        )
    return out


def interpolate_gradient(
    grad: Tensor, key: Key, group_size: int, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """As in the reference."""
    need_memory((grad,))
    grad = _rows(grad)
    of_real = torch.empty_like(grad) if needed[0] else None
    of_fake = torch.empty_like(grad) if needed[1] else None
    if grad.numel() == 0 or not any(needed):
        return of_real, of_fake
    grid, shape, options = _elementwise(grad, grad.shape[0])
    with on_device(grad.device):
        pointer, number = key_argument(key)
        bind(interpolate_gradient_kernel, **options)(
            grad.device, grid, (of_real, of_fake, grad, pointer), *shape, group_size, number
        )
    return of_real, of_fake


def penalty(x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """As in the reference."""
    need_memory((x,))
    x = _rows(x)
    wide = x.dtype == torch.float64
    rows, length = _matrix(x, spec)
    scalars = torch.float64 if wide else torch.float32
    value = torch.empty((), dtype=scalars, device=x.device)
    norms = value.new_empty(rows)
    block = 1 << BLOCK_LOG2[wide]
    numbers = length, rows, bits(spec.target), bits(spec.weight / rows)
    with on_device(x.device):
        if length <= block:
            width = triton.next_power_of_2(max(1, length))
            together = block // width
            programs = triton.cdiv(rows, together)
            single = programs == 1
            partials = None if single else value.new_empty(programs)
            arrivals = None if single else counter(x.device, once=True)
            kernel = bind(
                short_penalty_kernel, ONE_SIDED=spec.one_sided, SINGLE=single, WIDE=wide,
                WIDTH=width, TOGETHER=together,
            )  # fmt: skip
            kernel(x.device, programs, (value, norms, partials, arrivals, x), *numbers, programs)
            return value, norms
        parts, loops = _shared(rows, length, block)
        programs = rows * parts
        tensors = value, norms, value.new_empty(programs), counter(x.device, once=True), x
        kernel = bind(
            long_penalty_kernel, ONE_SIDED=spec.one_sided, WIDE=wide, BLOCK_LOG2=BLOCK_LOG2[wide]
        )
        kernel(x.device, programs, tensors, *numbers, programs, parts, loops)
    return value, norms


def penalty_gradient(grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec) -> Tensor:
    """As in the reference, from the norms that :func:`penalty` gave."""
    need_memory((grad,))
    x = _rows(x)
    out = torch.empty_like(x)
    if x.numel() == 0:
        return out
    rows, _ = _matrix(x, spec)
    grid, shape, options = _elementwise(x, rows)
    with on_device(x.device):
        kernel = bind(
            penalty_gradient_kernel, CENTRED=spec.target == 0, ONE_SIDED=spec.one_sided, **options
        )
        tensors = out, x, norms, grad.resolve_neg()
        kernel(x.device, grid, tensors, *shape, rows, bits(spec.target), bits(spec.weight / rows))
    return out


def penalty_second_order(
    v: Tensor, grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec
) -> tuple[Tensor, Tensor]:
    """As in the reference, from the norms of :func:`penalty`."""
    need_memory((v, grad))
    x = _rows(x)
    v = like(v, x)
    rows, length = _matrix(x, spec)
    of_grad, of_x = torch.empty_like(grad), torch.empty_like(x)
    wide = x.dtype == torch.float64
    with on_device(x.device):
        sides: dict[str, int] = {"CENTRED": spec.target == 0, "ONE_SIDED": spec.one_sided}
        sides |= {"WIDE": wide, "BLOCK_LOG2": BLOCK_LOG2[wide]}
        numbers = bits(spec.target), bits(spec.weight / rows)
        arrivals, grad = counter(x.device, once=True), grad.resolve_neg()
        if length <= _ROW_OF_ONE << BLOCK_LOG2[wide]:
            partials = torch.empty_like(norms)
            bind(penalty_second_order_kernel, **sides)(
                x.device, rows, (of_grad, of_x, partials, arrivals, v, x, norms, grad),
                length, rows, *numbers,
            )  # fmt: skip
            return of_grad, of_x
        parts, loops = _shared(rows, length, 1 << BLOCK_LOG2[wide])
        inners, partials = torch.empty_like(norms), norms.new_empty(rows * parts)
        bind(long_product_kernel, **sides)(
            x.device, rows * parts, (of_grad, inners, partials, arrivals, v, x, norms),
            length, rows, *numbers, rows * parts, parts, loops,
        )  # fmt: skip
        grid, shape, _ = _elementwise(x, rows)
        bind(long_second_order_kernel, **sides)(
            x.device, grid, (of_x, v, x, norms, inners, grad), *shape, *numbers
        )
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
    block_log2 = BLOCK_LOG2[wide]
    elements = x.numel()
    length = elements // rows
    short = length < 1 << block_log2
    grid = triton.cdiv(elements if short else length, 1 << block_log2) * (1 if short else rows)
    return grid, (length, elements), {"SHORT": short, "WIDE": wide, "BLOCK_LOG2": block_log2}


def _shared(rows: int, length: int, block: int) -> tuple[int, int]:
    """How many programs share a long row, and how many blocks each of them has."""
    blocks = triton.cdiv(length, block)
    loops = triton.cdiv(blocks, max(1, MAX_PROGRAMS // rows))
    return triton.cdiv(blocks, loops), loops
