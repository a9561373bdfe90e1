"""The kernels of the losses: a sum over tensors of logits, and an elementwise map of them.

Both take up to MAX_TENSORS tensors, each an allocation of its own, as separate pointers: that is
how one launch serves both sides of a discriminator and every head of a list. The programs are
numbered through all the tensors; each finds its tensor from its number and the counts. An absent
pointer is None, which Triton compiles away. Up to two tensors, the usual loss, go to kernels with
fewer arguments (``sum_pair_kernel``, ``map_pair_kernel``): each argument costs the host time.

With PAIRED phi is taken of differences: the first half of the places is for what comes first,
the other half for what is subtracted from it.

All integers are int64, and ``do_not_specialize`` keeps Triton from making a constant of every 1:
a new batch size, seed or rate of label noise never compiles anew. Real numbers travel as the bits
of a float64, because a kernel's float argument is a float32, too narrow for float64 logits.
"""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels import phi
from ganfast.backends.triton.kernels.blocks import (
    block_targets,
    find,
    load,
    load_difference,
    pick,
    range_statistics,
    range_sum,
)
from ganfast.backends.triton.kernels.scalars import real, wide_integer

MAX_TENSORS = 8
PARTIALS = tl.constexpr(2048)
"""Partial sums that the last program loads at once: 16 for each thread."""

_OF_ALL = ["flip", "noise", "key", "heads", "first_stream"]
_SCALARS = [*(f"{name}{j}" for name in "nt" for j in range(MAX_TENSORS)), *_OF_ALL]
_OF_PAIR = ["n0", "n1", "t0", "t1", *_OF_ALL]
_OF_SUM = ["loops_log2", "first_program", "programs"]


@triton.jit
def gather(partials, programs, dtype: tl.constexpr):
    """The sum of what all programs stored, in the order of their numbers."""
    lanes = tl.arange(0, PARTIALS)
    sums = tl.zeros((PARTIALS,), dtype)
    for base in range(0, programs.to(tl.int32), PARTIALS):
        # .cg: from the L2 cache, where the other processors' sums are.
        sums += tl.load(
            partials + base + lanes,
            mask=lanes < programs - base,
            other=0.0,
            cache_modifier=".cg",
        )
    return tl.sum(sums, axis=0)


@triton.jit
def store_statistics(out, real, fake, real_right, fake_right):
    tl.store(out, real)
    tl.store(out + 1, fake)
    tl.store(out + 2, real - fake)
    tl.store(out + 3, real_right)
    tl.store(out + 4, fake_right)


@triton.jit
def sum_tensors(
    out, partials, counter, statistics, key_pointer, xs, ns, ts, flip, noise, key, heads,
    first_stream, loops_log2, first_program, programs,
    PHI: tl.constexpr, PAIRED: tl.constexpr, NOISY: tl.constexpr, MEAN: tl.constexpr,
    WIDE: tl.constexpr, SINGLE: tl.constexpr, BLOCK_LOG2: tl.constexpr, TENSORS: tl.constexpr,
):  # fmt: skip
    """out = sum_j weight_j * sum_i phi(x_j[i], t_j[i]).

    Bitwise the same from run to run: each program adds a fixed range of blocks in a fixed order
    and stores its partial sum; the program that finishes last, as an atomic counter tells, adds
    the partial sums in the order of their numbers, whoever it is. That costs no second launch,
    and the counter is back at zero when the kernel ends. With SINGLE one program does the work of
    all: for a few blocks the partial sums and the counter would cost more than they save.

    ``statistics`` are those of the reference's loss_statistics(), or None; of each of the four
    that are sums, ``partials`` has a row more.
    """
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    REAL: tl.constexpr = tl.float64 if WIDE else tl.float32
    PLACES: tl.constexpr = TENSORS // 2 if PAIRED else TENSORS
    if key_pointer is not None:
        key = tl.load(key_pointer)
    key = wide_integer(key)
    loops = wide_integer(loops_log2)
    begin = 0 if SINGLE else tl.program_id(0)
    end = programs.to(tl.int32) if SINGLE else begin + 1
    partial = tl.zeros((), REAL)
    real_sum, fake_sum, real_right, fake_right = partial, partial, partial, partial
    for program in range(begin, end):
        index, chunk = find(program, loops + BLOCK_LOG2, xs, ns, PLACES)
        n = wide_integer(pick(ns, index, PLACES))
        x = pick(xs, index, TENSORS)
        m = pick(xs, index + PLACES, TENSORS) if PAIRED else x
        total = range_sum(
            x, m, n, real(pick(ts, index, PLACES), WIDE), flip, noise, key,
            wide_integer(first_stream) + index, chunk << loops, 1 << loops,
            PHI, PAIRED, NOISY, WIDE, BLOCK,
        )  # fmt: skip
        # The weight is 1 / (heads * n) or 1 / heads. One division for each program costs nothing.
        share = wide_integer(heads) * n if MEAN else wide_integer(heads)
        partial += total / share.to(REAL)
        if statistics is not None:
            count = (wide_integer(heads) * n).to(REAL)
            is_fake = wide_integer(first_stream) + index >= heads
            sign = tl.where(is_fake, -1.0, 1.0).to(REAL)
            total, right = range_statistics(x, n, sign, chunk << loops, 1 << loops, WIDE, BLOCK)
            total, right = total / count, right / count
            if PAIRED:
                real_sum, real_right = real_sum + total, real_right + right
                total, right = range_statistics(
                    m, n, -sign, chunk << loops, 1 << loops, WIDE, BLOCK
                )
                fake_sum, fake_right = fake_sum + total / count, fake_right + right / count
            else:
                real_sum += tl.where(is_fake, 0.0, total)
                real_right += tl.where(is_fake, 0.0, right)
                fake_sum += tl.where(is_fake, total, 0.0)
                fake_right += tl.where(is_fake, right, 0.0)
    if SINGLE:
        tl.store(out, partial.to(out.dtype.element_ty))
        if statistics is not None:
            store_statistics(statistics, real_sum, fake_sum, real_right, fake_right)
    else:
        mine = partials + first_program + begin
        tl.store(mine, partial)
        if statistics is not None:
            tl.store(mine + programs, real_sum)
            tl.store(mine + 2 * programs, fake_sum)
            tl.store(mine + 3 * programs, real_right)
            tl.store(mine + 4 * programs, fake_right)
        # Release what this program stored, acquire what the others did before they counted.
        tl.debug_barrier()
        arrived = tl.atomic_add(counter, 1, sem="acq_rel")
        if arrived == programs - 1:
            tl.store(out, gather(partials, programs, REAL).to(out.dtype.element_ty))
            if statistics is not None:
                store_statistics(
                    statistics,
                    gather(partials + programs, programs, REAL),
                    gather(partials + 2 * programs, programs, REAL),
                    gather(partials + 3 * programs, programs, REAL),
                    gather(partials + 4 * programs, programs, REAL),
                )
            tl.store(counter, 0)


@triton.jit(do_not_specialize=[*_SCALARS, *_OF_SUM])
def sum_kernel(
    out, partials, counter, statistics, key_pointer,
    x0, x1, x2, x3, x4, x5, x6, x7,
    n0: tl.int64, n1: tl.int64, n2: tl.int64, n3: tl.int64,
    n4: tl.int64, n5: tl.int64, n6: tl.int64, n7: tl.int64,
    t0: tl.int64, t1: tl.int64, t2: tl.int64, t3: tl.int64,
    t4: tl.int64, t5: tl.int64, t6: tl.int64, t7: tl.int64,
    flip: tl.int64, noise: tl.int64, key: tl.int64, heads: tl.int64, first_stream: tl.int64,
    loops_log2: tl.int64, first_program: tl.int64, programs: tl.int64,
    PHI: tl.constexpr, PAIRED: tl.constexpr, NOISY: tl.constexpr, MEAN: tl.constexpr,
    WIDE: tl.constexpr, SINGLE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """:func:`sum_tensors` of up to eight."""
    sum_tensors(
        out, partials, counter, statistics, key_pointer,
        (x0, x1, x2, x3, x4, x5, x6, x7), (n0, n1, n2, n3, n4, n5, n6, n7),
        (t0, t1, t2, t3, t4, t5, t6, t7),
        flip, noise, key, heads, first_stream, loops_log2, first_program, programs,
        PHI, PAIRED, NOISY, MEAN, WIDE, SINGLE, BLOCK_LOG2, 8,
    )  # fmt: skip


@triton.jit(do_not_specialize=[*_OF_PAIR, *_OF_SUM])
def sum_pair_kernel(
    out, partials, counter, statistics, key_pointer, x0, x1,
    n0: tl.int64, n1: tl.int64, t0: tl.int64, t1: tl.int64,
    flip: tl.int64, noise: tl.int64, key: tl.int64, heads: tl.int64, first_stream: tl.int64,
    loops_log2: tl.int64, first_program: tl.int64, programs: tl.int64,
    PHI: tl.constexpr, PAIRED: tl.constexpr, NOISY: tl.constexpr, MEAN: tl.constexpr,
    WIDE: tl.constexpr, SINGLE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """:func:`sum_tensors` of one or two."""
    sum_tensors(
        out, partials, counter, statistics, key_pointer, (x0, x1), (n0, n1), (t0, t1),
        flip, noise, key, heads, first_stream, loops_log2, first_program, programs,
        PHI, PAIRED, NOISY, MEAN, WIDE, SINGLE, BLOCK_LOG2, 2,
    )  # fmt: skip


@triton.jit
def map_block(
    x, m, g, y, v, n, t, flip, noise, key, stream, start, scale,
    MASKED: tl.constexpr, PHI: tl.constexpr, PAIRED: tl.constexpr, SLOPE: tl.constexpr,
    EACH: tl.constexpr, NOISY: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = phi(x, t), or y = phi'(x, t) * scale * g and v = -y of a pair, for one block."""
    lanes = tl.arange(0, BLOCK)
    logits = load_difference(x, m, n, start, MASKED, PAIRED, WIDE, BLOCK)
    targets = block_targets(t, flip, noise, key, stream, start, NOISY, WIDE, BLOCK)
    if SLOPE:
        values = phi.slope(logits, targets, PHI)
        if EACH:
            values = values * load(g + start + lanes, n, start, lanes, MASKED, WIDE)
        else:
            values = values * scale
    else:
        values = phi.value(logits, targets, PHI)
    if SLOPE and PAIRED:
        tl.store(v + start + lanes, (-values).to(v.dtype.element_ty), mask=lanes < n - start)
    values = values.to(y.dtype.element_ty)
    if MASKED:
        tl.store(y + start + lanes, values, mask=lanes < n - start)
    else:
        tl.store(y + start + lanes, values)


@triton.jit
def map_tensors(
    grad, key_pointer, xs, gs, ys, ns, ts, flip, noise, key, heads, first_stream,
    PHI: tl.constexpr, PAIRED: tl.constexpr, SLOPE: tl.constexpr, EACH: tl.constexpr,
    NOISY: tl.constexpr, MEAN: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
    TENSORS: tl.constexpr,
):  # fmt: skip
    """Elementwise, one block for each program.

    Without SLOPE y_j = phi(x_j, t_j): the loss with reduction "none". With SLOPE the gradient:
    with EACH y_j = phi'(x_j, t_j) * g_j, for "none"; without it y_j = phi'(x_j, t_j) * weight_j *
    grad, for a sum or a mean, where ``grad`` is a single number that is read here, on the device.
    """
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    PLACES: tl.constexpr = TENSORS // 2 if PAIRED else TENSORS
    if key_pointer is not None:
        key = tl.load(key_pointer)
    key = wide_integer(key)
    index, block = find(tl.program_id(0), BLOCK_LOG2, xs, ns, PLACES)
    x, y = pick(xs, index, TENSORS), pick(ys, index, TENSORS)
    n = wide_integer(pick(ns, index, PLACES))
    t = real(pick(ts, index, PLACES), WIDE)
    m, v = x, y
    if PAIRED:
        m = pick(xs, index + PLACES, TENSORS)
        if SLOPE:
            v = pick(ys, index + PLACES, TENSORS)
    g, scale = x, t  # stand in for what is not there; neither is read then
    if SLOPE and EACH:
        g = pick(gs, index, PLACES)
    elif SLOPE:
        share = wide_integer(heads) * n if MEAN else wide_integer(heads)
        scale = tl.load(grad).to(t.dtype) / share.to(t.dtype)
    stream, start = wide_integer(first_stream) + index, block * BLOCK
    if start + BLOCK <= n:
        map_block(
            x, m, g, y, v, n, t, flip, noise, key, stream, start, scale,
            False, PHI, PAIRED, SLOPE, EACH, NOISY, WIDE, BLOCK,
        )  # fmt: skip
    else:
        map_block(
            x, m, g, y, v, n, t, flip, noise, key, stream, start, scale,
            True, PHI, PAIRED, SLOPE, EACH, NOISY, WIDE, BLOCK,
        )  # fmt: skip


@triton.jit(do_not_specialize=_SCALARS)
def map_kernel(
    grad, key_pointer,
    x0, x1, x2, x3, x4, x5, x6, x7,
    g0, g1, g2, g3, g4, g5, g6, g7,
    y0, y1, y2, y3, y4, y5, y6, y7,
    n0: tl.int64, n1: tl.int64, n2: tl.int64, n3: tl.int64,
    n4: tl.int64, n5: tl.int64, n6: tl.int64, n7: tl.int64,
    t0: tl.int64, t1: tl.int64, t2: tl.int64, t3: tl.int64,
    t4: tl.int64, t5: tl.int64, t6: tl.int64, t7: tl.int64,
    flip: tl.int64, noise: tl.int64, key: tl.int64, heads: tl.int64, first_stream: tl.int64,
    PHI: tl.constexpr, PAIRED: tl.constexpr, SLOPE: tl.constexpr, EACH: tl.constexpr,
    NOISY: tl.constexpr, MEAN: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """:func:`map_tensors` for up to eight."""
    map_tensors(
        grad, key_pointer,
        (x0, x1, x2, x3, x4, x5, x6, x7), (g0, g1, g2, g3, g4, g5, g6, g7),
        (y0, y1, y2, y3, y4, y5, y6, y7), (n0, n1, n2, n3, n4, n5, n6, n7),
        (t0, t1, t2, t3, t4, t5, t6, t7), flip, noise, key, heads, first_stream,
        PHI, PAIRED, SLOPE, EACH, NOISY, MEAN, WIDE, BLOCK_LOG2, 8,
    )  # fmt: skip


@triton.jit(do_not_specialize=_OF_PAIR)
def map_pair_kernel(
    grad, key_pointer, x0, x1, g0, g1, y0, y1,
    n0: tl.int64, n1: tl.int64, t0: tl.int64, t1: tl.int64,
    flip: tl.int64, noise: tl.int64, key: tl.int64, heads: tl.int64, first_stream: tl.int64,
    PHI: tl.constexpr, PAIRED: tl.constexpr, SLOPE: tl.constexpr, EACH: tl.constexpr,
    NOISY: tl.constexpr, MEAN: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """:func:`map_tensors` for one or two."""
    map_tensors(
        grad, key_pointer, (x0, x1), (g0, g1), (y0, y1), (n0, n1), (t0, t1),
        flip, noise, key, heads, first_stream,
        PHI, PAIRED, SLOPE, EACH, NOISY, MEAN, WIDE, BLOCK_LOG2, 2,
    )  # fmt: skip
