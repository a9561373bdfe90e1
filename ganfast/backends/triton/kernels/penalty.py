"""The penalty on the norms of gradients: its value, its gradient, and the derivative of that.

The sums are bitwise the same from run to run, as in the losses: each program adds a fixed part in a
fixed order, and the program that finishes last adds the parts.
"""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels.rows import is_last, place, read, write
from ganfast.backends.triton.kernels.scalars import real, wide_integer

LANES = tl.constexpr(256)
"""Rows, or partial sums, that the last program takes at a time."""

MANY = tl.constexpr(32)
"""Parts of a row, from which on that program takes many of them at a time, and few rows."""

_SCALARS = ["rows", "elements", "target", "share", "programs", "parts", "loops"]


@triton.jit
def root(squares):
    """sqrt, rounded to nearest: the fast one of float32 is not."""
    return tl.sqrt(squares) if squares.dtype == tl.float64 else tl.sqrt_rn(squares)


@triton.jit
def excess(r, target, ONE_SIDED: tl.constexpr):
    """r - target, cut off at 0 where one-sided; a NaN stays one."""
    over = r - target
    return tl.where(over < 0, 0.0, over) if ONE_SIDED else over


@triton.jit
def slope(r, target, CENTRED: tl.constexpr, ONE_SIDED: tl.constexpr):
    """The gradient of excess^2 / 2 is slope * x; 0 where the norm has a kink, at r = 0."""
    if CENTRED:
        s = tl.where(r != r, r, 1.0)
    else:
        s = tl.where(r == 0, 0.0, excess(r, target, ONE_SIDED) / tl.where(r == 0, 1.0, r))
    return s


@triton.jit
def curvature(r, target, CENTRED: tl.constexpr, ONE_SIDED: tl.constexpr):
    """d slope / dr / r."""
    if CENTRED:
        b = r * 0.0
    else:
        safe = tl.where(r == 0, 1.0, r)
        b = tl.where(r == 0, 0.0, target / safe / safe / safe)
        if ONE_SIDED:
            b = tl.where(r < target, 0.0, b)
    return b


@triton.jit
def sum_parts(partials, count, ACCUMULATOR: tl.constexpr):
    """The sum of ``count`` partial sums, which other programs stored, in their order."""
    lanes = tl.arange(0, LANES)
    sums = tl.zeros((LANES,), ACCUMULATOR)
    for base in range(0, count.to(tl.int32), LANES):
        inside = lanes < count - base
        sums += tl.load(partials + base + lanes, mask=inside, other=0.0, cache_modifier=".cg")
    return tl.sum(sums, axis=0)


@triton.jit(do_not_specialize=_SCALARS)
def short_penalty_kernel(
    out, norms, partials, counter, x,
    length: tl.int64, rows: tl.int64, target: tl.int64, share: tl.int64, programs: tl.int64,
    ONE_SIDED: tl.constexpr, SINGLE: tl.constexpr, WIDE: tl.constexpr,
    WIDTH: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    """out = share * sum_i excess_i^2 for share = weight / rows, and the norms; each program has
    whole rows."""
    ACCUMULATOR: tl.constexpr = tl.float64 if WIDE else tl.float32
    program, count = wide_integer(tl.program_id(0)), wide_integer(rows)
    row = program * TOGETHER + tl.arange(0, TOGETHER)
    column = tl.arange(0, WIDTH)
    inside = (row < count)[:, None] & (column < wide_integer(length))[None, :]
    offsets = row[:, None] * wide_integer(length) + column[None, :]
    values = tl.load(x + offsets, mask=inside, other=0.0).to(ACCUMULATOR)
    r = root(tl.sum(values * values, axis=1))
    tl.store(norms + row, r, mask=row < count)
    over = excess(r, real(target, WIDE), ONE_SIDED)
    partial = tl.sum(tl.where(row < count, over * over, 0.0), axis=0)
    if SINGLE:
        tl.store(out, real(share, WIDE) * partial)
    else:
        tl.store(partials + program, partial)
        if is_last(counter, programs):
            total = sum_parts(partials, wide_integer(programs), ACCUMULATOR)
            tl.store(out, real(share, WIDE) * total)
            tl.store(counter, 0)


@triton.jit
def row_sums(
    partials, base, count, parts,
    ACCUMULATOR: tl.constexpr, R: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The sums of ``R`` rows from ``base`` on, of which other programs stored ``parts`` each."""
    row = (base + tl.arange(0, R))[:, None]
    sums = tl.zeros((R, P), ACCUMULATOR)
    for k in range(0, parts, P):
        part = k + tl.arange(0, P)[None, :]
        inside = (row < count) & (part < parts)
        sums += tl.load(partials + row * parts + part, mask=inside, other=0.0, cache_modifier=".cg")
    return tl.sum(sums, axis=1)


@triton.jit
def sum_rows(
    norms, partials, count, parts, target,
    ONE_SIDED: tl.constexpr, WIDE: tl.constexpr, R: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The sum of excess^2 over all rows, whose norms are stored; R rows and P parts at a time."""
    ACCUMULATOR: tl.constexpr = tl.float64 if WIDE else tl.float32
    lanes = tl.arange(0, R)
    total = tl.zeros((R,), ACCUMULATOR)
    for base in range(0, count.to(tl.int32), R):
        inside = base + lanes < count
        r = root(row_sums(partials, base, count, parts, ACCUMULATOR, R, P))
        tl.store(norms + base + lanes, r, mask=inside)
        over = excess(r, real(target, WIDE), ONE_SIDED)
        total += tl.where(inside, over * over, 0.0)
    return tl.sum(total, axis=0)


@triton.jit(do_not_specialize=_SCALARS)
def long_penalty_kernel(
    out, norms, partials, counter, x,
    length: tl.int64, rows: tl.int64, target: tl.int64, share: tl.int64, programs: tl.int64,
    parts: tl.int64, loops: tl.int64,
    ONE_SIDED: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """As short_penalty_kernel; ``parts`` programs share a row, with ``loops`` blocks for each."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    ACCUMULATOR: tl.constexpr = tl.float64 if WIDE else tl.float32
    program, parts = tl.program_id(0), wide_integer(parts).to(tl.int32)
    count, length = wide_integer(rows), wide_integer(length)
    part = wide_integer(program % parts) * (wide_integer(loops) << BLOCK_LOG2)
    left = tl.minimum(length - part, wide_integer(loops) << BLOCK_LOG2)
    x += wide_integer(program // parts) * length + part
    lanes_sum = tl.zeros((BLOCK,), ACCUMULATOR)
    for _ in range((left >> BLOCK_LOG2).to(tl.int32)):
        value = read(x, left, False, WIDE, BLOCK)
        lanes_sum += value * value
        x += BLOCK
    left = left & (BLOCK - 1)
    if left > 0:
        value = read(x, left, True, WIDE, BLOCK)
        lanes_sum += value * value
    tl.store(partials + program, tl.sum(lanes_sum, axis=0))
    if is_last(counter, programs):
        if parts >= MANY:
            total = sum_rows(norms, partials, count, parts, target, ONE_SIDED, WIDE, 8, 128)
        else:
            total = sum_rows(norms, partials, count, parts, target, ONE_SIDED, WIDE, LANES, 1)
        tl.store(out, real(share, WIDE) * total)
        tl.store(counter, 0)


@triton.jit
def scale_block(
    out, x, left, factor, MASKED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):
    write(out, factor * read(x, left, MASKED, WIDE, BLOCK), left, MASKED, BLOCK)


@triton.jit(do_not_specialize=_SCALARS)
def penalty_gradient_kernel(
    out, x, norms, grad,
    length: tl.int64, elements: tl.int64, rows: tl.int64, target: tl.int64, share: tl.int64,
    CENTRED: tl.constexpr, ONE_SIDED: tl.constexpr, SHORT: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """out_i = grad * 2 share * slope_i * x_i."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    first, left, row = place(length, elements, SHORT, BLOCK)
    scale = tl.load(grad) * (2.0 * real(share, WIDE))
    r = tl.load(norms + row, mask=row < wide_integer(rows), other=0.0)
    factor = scale * slope(r, real(target, WIDE), CENTRED, ONE_SIDED)
    if left >= BLOCK:
        scale_block(out + first, x + first, left, factor, False, WIDE, BLOCK)
    else:
        scale_block(out + first, x + first, left, factor, True, WIDE, BLOCK)


@triton.jit(do_not_specialize=_SCALARS)
def penalty_second_order_kernel(
    of_grad, of_x, partials, counter, v, x, norms, grad,
    length: tl.int64, rows: tl.int64, target: tl.int64, share: tl.int64,
    CENTRED: tl.constexpr, ONE_SIDED: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """The derivatives of <v, grad * d penalty / dx>: one program for each row, which it reads twice
    (the second time from the cache, where rows of images fit)."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    ACCUMULATOR: tl.constexpr = tl.float64 if WIDE else tl.float32
    row, count = wide_integer(tl.program_id(0)), wide_integer(rows)
    length = wide_integer(length)
    first = row * length
    blocks = ((length + BLOCK - 1) >> BLOCK_LOG2).to(tl.int32)
    lanes_sum = tl.zeros((BLOCK,), ACCUMULATOR)
    for k in range(blocks):
        start = wide_integer(k) * BLOCK
        a = read(v + first + start, length - start, True, WIDE, BLOCK)
        b = read(x + first + start, length - start, True, WIDE, BLOCK)
        lanes_sum += a * b
    inner = tl.sum(lanes_sum, axis=0)
    r, aim = tl.load(norms + row), real(target, WIDE)
    twice = 2.0 * real(share, WIDE)
    scale = tl.load(grad) * twice
    s = slope(r, aim, CENTRED, ONE_SIDED)
    of_v, of_itself = scale * s, scale * (curvature(r, aim, CENTRED, ONE_SIDED) * inner)
    for k in range(blocks):
        start = wide_integer(k) * BLOCK
        left = length - start
        a = read(v + first + start, left, True, WIDE, BLOCK)
        b = read(x + first + start, left, True, WIDE, BLOCK)
        write(of_x + first + start, of_v * a + of_itself * b, left, True, BLOCK)
    tl.store(partials + row, s * inner)
    if is_last(counter, rows):
        tl.store(of_grad, twice * sum_parts(partials, count, ACCUMULATOR))
        tl.store(counter, 0)


@triton.jit
def sum_products(
    inners, norms, partials, count, parts, target,
    CENTRED: tl.constexpr, ONE_SIDED: tl.constexpr, WIDE: tl.constexpr,
    R: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The sum of slope * <v, x> over all rows, whose products are stored."""
    ACCUMULATOR: tl.constexpr = tl.float64 if WIDE else tl.float32
    lanes = tl.arange(0, R)
    total = tl.zeros((R,), ACCUMULATOR)
    for base in range(0, count.to(tl.int32), R):
        inside = base + lanes < count
        inner = row_sums(partials, base, count, parts, ACCUMULATOR, R, P)
        tl.store(inners + base + lanes, inner, mask=inside)
        r = tl.load(norms + base + lanes, mask=inside, other=0.0)
        s = slope(r, real(target, WIDE), CENTRED, ONE_SIDED)
        total += tl.where(inside, s * inner, 0.0)
    return tl.sum(total, axis=0)


@triton.jit(do_not_specialize=_SCALARS)
def long_product_kernel(
    of_grad, inners, partials, counter, v, x, norms,
    length: tl.int64, rows: tl.int64, target: tl.int64, share: tl.int64, programs: tl.int64,
    parts: tl.int64, loops: tl.int64,
    CENTRED: tl.constexpr, ONE_SIDED: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """What penalty_second_order_kernel sums, <v, x> of each row and of_grad, where ``parts``
    programs share a row, with ``loops`` blocks for each."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    ACCUMULATOR: tl.constexpr = tl.float64 if WIDE else tl.float32
    program, parts = tl.program_id(0), wide_integer(parts).to(tl.int32)
    count, length = wide_integer(rows), wide_integer(length)
    part = wide_integer(program % parts) * (wide_integer(loops) << BLOCK_LOG2)
    left = tl.minimum(length - part, wide_integer(loops) << BLOCK_LOG2)
    first = wide_integer(program // parts) * length + part
    lanes_sum = tl.zeros((BLOCK,), ACCUMULATOR)
    for k in range((left >> BLOCK_LOG2).to(tl.int32)):
        start = first + wide_integer(k) * BLOCK
        lanes_sum += read(v + start, left, False, WIDE, BLOCK) * read(
            x + start, left, False, WIDE, BLOCK
        )
    rest = left & (BLOCK - 1)
    if rest > 0:
        start = first + left - rest
        lanes_sum += read(v + start, rest, True, WIDE, BLOCK) * read(
            x + start, rest, True, WIDE, BLOCK
        )
    tl.store(partials + program, tl.sum(lanes_sum, axis=0))
    if is_last(counter, programs):
        if parts >= MANY:
            total = sum_products(
                inners, norms, partials, count, parts, target, CENTRED, ONE_SIDED, WIDE, 8, 128
            )
        else:
            total = sum_products(
                inners, norms, partials, count, parts, target, CENTRED, ONE_SIDED, WIDE, LANES, 1
            )
        tl.store(of_grad, 2.0 * real(share, WIDE) * total)
        tl.store(counter, 0)


@triton.jit
def combine_block(
    out, v, x, left, of_v, of_itself,
    MASKED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    a, b = read(v, left, MASKED, WIDE, BLOCK), read(x, left, MASKED, WIDE, BLOCK)
    write(out, of_v * a + of_itself * b, left, MASKED, BLOCK)


@triton.jit(do_not_specialize=_SCALARS)
def long_second_order_kernel(
    of_x, v, x, norms, inners, grad,
    length: tl.int64, elements: tl.int64, target: tl.int64, share: tl.int64,
    CENTRED: tl.constexpr, ONE_SIDED: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """The other half of penalty_second_order_kernel, a block for each program."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    first, left, row = place(length, elements, False, BLOCK)
    r, inner, aim = tl.load(norms + row), tl.load(inners + row), real(target, WIDE)
    scale = tl.load(grad) * (2.0 * real(share, WIDE))
    of_v = scale * slope(r, aim, CENTRED, ONE_SIDED)
    of_itself = scale * (curvature(r, aim, CENTRED, ONE_SIDED) * inner)
    if left >= BLOCK:
        combine_block(of_x + first, v + first, x + first, left, of_v, of_itself, False, WIDE, BLOCK)
    else:
        combine_block(of_x + first, v + first, x + first, left, of_v, of_itself, True, WIDE, BLOCK)
