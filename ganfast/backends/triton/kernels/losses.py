"""The kernels of the losses: a sum over tensors of logits, and an elementwise map of them.

Both take up to MAX_TENSORS tensors, each an allocation of its own, as separate pointers: that is
how one launch serves both sides of a discriminator and every head of a list. The programs are
numbered through all the tensors; each finds its tensor from its number and the counts. An absent
pointer is None, which Triton compiles away. Up to two tensors, the usual loss, go to kernels with
fewer arguments (``sum_pair_kernel``, ``map_pair_kernel``): each argument costs the host time.

All integers are int64, and ``do_not_specialize`` keeps Triton from making a constant of every 1:
a new batch size, seed or rate of label noise never compiles anew. Real numbers travel as the bits
of a float64, because a kernel's float argument is a float32, too narrow for float64 logits.

A block that lies wholly inside its tensor is loaded without a mask, so that the loads are vectors
whatever the count; only the last block of a tensor is masked.
"""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels import phi
from ganfast.backends.triton.kernels.philox import noisy_targets
from ganfast.backends.triton.kernels.scalars import real, wide_integer

MAX_TENSORS = 8
PARTIALS = tl.constexpr(2048)
"""Partial sums that the last program loads at once: 16 for each thread."""

_OF_ALL = ["flip", "noise", "key", "heads", "first_stream"]
_SCALARS = [*(f"{name}{j}" for name in "nt" for j in range(MAX_TENSORS)), *_OF_ALL]
_OF_PAIR = ["n0", "n1", "t0", "t1", *_OF_ALL]
_OF_SUM = ["loops_log2", "first_program", "programs"]


@triton.jit
def find(program, chunk_log2, xs, ns, TENSORS: tl.constexpr = 8):
    """Which tensor program ``program`` works on, and which chunk of 2^chunk_log2 elements of it.

    An empty tensor has a program too: its mean is then 0/0, as it should be.
    """
    zero = tl.zeros((), tl.int64)
    # The interpreter gives Python's own integers, where a compiled kernel has tensors.
    program, chunk_log2 = zero + program, zero + chunk_log2
    index, first, end = zero, zero, zero
    for j in tl.static_range(TENSORS):
        if xs[j] is not None:
            if program >= end:
                index, first = zero + j, end
            chunks = (wide_integer(ns[j]) + (1 << chunk_log2) - 1) >> chunk_log2
            end += tl.maximum(chunks, 1)
    return index, program - first


@triton.jit
def pick(items, index, TENSORS: tl.constexpr = 8):
    """items[index], for an index that is known on the device alone."""
    item = items[0]
    for j in tl.static_range(1, TENSORS):
        if items[j] is not None:
            item = items[j] if index == j else item
    return item


@triton.jit
def load(pointers, count, start, lanes, MASKED: tl.constexpr, WIDE: tl.constexpr):
    """One block, widened at once: half precision is never computed with."""
    x = tl.load(pointers, mask=lanes < count - start, other=0.0) if MASKED else tl.load(pointers)
    return x.to(tl.float64) if WIDE else x.to(tl.float32)


@triton.jit
def block_targets(
    t, flip, noise, key, stream, start, NOISY: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):
    """The targets of one block: the scalar ``t`` unless each element draws its own."""
    if NOISY:
        t = noisy_targets(t, real(flip, WIDE), real(noise, WIDE), key, stream, start, BLOCK)
    return t


@triton.jit
def block_sum(
    x, n, t, flip, noise, key, stream, start,
    MASKED: tl.constexpr, PHI: tl.constexpr, NOISY: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """phi of one block, zero beyond the count: what each lane adds to its own sum."""
    lanes = tl.arange(0, BLOCK)
    logits = load(x + start + lanes, n, start, lanes, MASKED, WIDE)
    targets = block_targets(t, flip, noise, key, stream, start, NOISY, WIDE, BLOCK)
    values = phi.value(logits, targets, PHI)
    if MASKED:
        values = tl.where(lanes < n - start, values, 0.0)
    return values


@triton.jit
def range_sum(
    x, n, t, flip, noise, key, stream, first_block, blocks,
    PHI: tl.constexpr, NOISY: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The sum over ``blocks`` blocks of one tensor; the last may be cut short or missing."""
    lanes_sum = tl.zeros((BLOCK,), tl.float64 if WIDE else tl.float32)
    # Compared in int64, looped in int32: `blocks` is what one program does, never many.
    whole = tl.minimum(blocks, n // BLOCK - first_block).to(tl.int32)
    for k in range(whole):
        lanes_sum += block_sum(
            x, n, t, flip, noise, key, stream, (first_block + k) * BLOCK,
            False, PHI, NOISY, WIDE, BLOCK,
        )  # fmt: skip
    start = (first_block + whole) * BLOCK
    if (whole < blocks) & (start < n):
        lanes_sum += block_sum(
            x, n, t, flip, noise, key, stream, start, True, PHI, NOISY, WIDE, BLOCK
        )
    return tl.sum(lanes_sum, axis=0)


@triton.jit
def sum_tensors(
    out, partials, counter, key_pointer, xs, ns, ts, flip, noise, key, heads, first_stream,
    loops_log2, first_program, programs,
    PHI: tl.constexpr, NOISY: tl.constexpr, MEAN: tl.constexpr, WIDE: tl.constexpr,
    SINGLE: tl.constexpr, BLOCK_LOG2: tl.constexpr, TENSORS: tl.constexpr,
):  # fmt: skip
    """out = sum_j weight_j * sum_i phi(x_j[i], t_j[i]).

    Bitwise the same from run to run: each program adds a fixed range of blocks in a fixed order
    and stores its partial sum; the program that finishes last, as an atomic counter tells, adds
    the partial sums in the order of their numbers, whoever it is. That costs no second launch,
    and the counter is back at zero when the kernel ends. With SINGLE one program does the work of
    all: for a few blocks the partial sums and the counter would cost more than they save.
    """
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    if key_pointer is not None:
        key = tl.load(key_pointer)
    key = wide_integer(key)
    loops = wide_integer(loops_log2)
    begin = 0 if SINGLE else tl.program_id(0)
    end = programs.to(tl.int32) if SINGLE else begin + 1
    partial = tl.zeros((), tl.float64 if WIDE else tl.float32)
    for program in range(begin, end):
        index, chunk = find(program, loops + BLOCK_LOG2, xs, ns, TENSORS)
        n = wide_integer(pick(ns, index, TENSORS))
        total = range_sum(
            pick(xs, index, TENSORS), n, real(pick(ts, index, TENSORS), WIDE), flip, noise, key,
            wide_integer(first_stream) + index, chunk << loops, 1 << loops,
            PHI, NOISY, WIDE, BLOCK,
        )  # fmt: skip
        # The weight is 1 / (heads * n) or 1 / heads. One division for each program costs nothing.
        share = wide_integer(heads) * n if MEAN else wide_integer(heads)
        partial += total / share.to(partial.dtype)
    if SINGLE:
        tl.store(out, partial.to(out.dtype.element_ty))
    else:
        tl.store(partials + first_program + begin, partial)
        # Release what this program stored, acquire what the others did before they counted.
        tl.debug_barrier()
        arrived = tl.atomic_add(counter, 1, sem="acq_rel")
        if arrived == programs - 1:
            lanes = tl.arange(0, PARTIALS)
            sums = tl.zeros((PARTIALS,), partial.dtype)
            for base in range(0, programs.to(tl.int32), PARTIALS):
                # .cg: from the L2 cache, where the other processors' sums are.
                sums += tl.load(
                    partials + base + lanes,
                    mask=lanes < programs - base,
                    other=0.0,
                    cache_modifier=".cg",
                )
            tl.store(out, tl.sum(sums, axis=0).to(out.dtype.element_ty))
            tl.store(counter, 0)


@triton.jit(do_not_specialize=[*_SCALARS, *_OF_SUM])
def sum_kernel(
    out, partials, counter, key_pointer,
    x0, x1, x2, x3, x4, x5, x6, x7,
    n0: tl.int64, n1: tl.int64, n2: tl.int64, n3: tl.int64,
    n4: tl.int64, n5: tl.int64, n6: tl.int64, n7: tl.int64,
    t0: tl.int64, t1: tl.int64, t2: tl.int64, t3: tl.int64,
    t4: tl.int64, t5: tl.int64, t6: tl.int64, t7: tl.int64,
    flip: tl.int64, noise: tl.int64, key: tl.int64, heads: tl.int64, first_stream: tl.int64,
    loops_log2: tl.int64, first_program: tl.int64, programs: tl.int64,
    PHI: tl.constexpr, NOISY: tl.constexpr, MEAN: tl.constexpr, WIDE: tl.constexpr,
    SINGLE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """:func:`sum_tensors` of up to eight."""
    sum_tensors(
        out, partials, counter, key_pointer, (x0, x1, x2, x3, x4, x5, x6, x7),
        (n0, n1, n2, n3, n4, n5, n6, n7), (t0, t1, t2, t3, t4, t5, t6, t7),
        flip, noise, key, heads, first_stream, loops_log2, first_program, programs,
        PHI, NOISY, MEAN, WIDE, SINGLE, BLOCK_LOG2, 8,
    )  # fmt: skip


@triton.jit(do_not_specialize=[*_OF_PAIR, *_OF_SUM])
def sum_pair_kernel(
    out, partials, counter, key_pointer, x0, x1,
    n0: tl.int64, n1: tl.int64, t0: tl.int64, t1: tl.int64,
    flip: tl.int64, noise: tl.int64, key: tl.int64, heads: tl.int64, first_stream: tl.int64,
    loops_log2: tl.int64, first_program: tl.int64, programs: tl.int64,
    PHI: tl.constexpr, NOISY: tl.constexpr, MEAN: tl.constexpr, WIDE: tl.constexpr,
    SINGLE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """:func:`sum_tensors` of one or two."""
    sum_tensors(
        out, partials, counter, key_pointer, (x0, x1), (n0, n1), (t0, t1),
        flip, noise, key, heads, first_stream, loops_log2, first_program, programs,
        PHI, NOISY, MEAN, WIDE, SINGLE, BLOCK_LOG2, 2,
    )  # fmt: skip


@triton.jit
def map_block(
    x, g, y, n, t, flip, noise, key, stream, start, scale,
    MASKED: tl.constexpr, PHI: tl.constexpr, SLOPE: tl.constexpr, EACH: tl.constexpr,
    NOISY: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = phi(x, t), or y = phi'(x, t) * scale * g, for one block."""
    lanes = tl.arange(0, BLOCK)
    logits = load(x + start + lanes, n, start, lanes, MASKED, WIDE)
    targets = block_targets(t, flip, noise, key, stream, start, NOISY, WIDE, BLOCK)
    if SLOPE:
        values = phi.slope(logits, targets, PHI)
        if EACH:
            values = values * load(g + start + lanes, n, start, lanes, MASKED, WIDE)
        else:
            values = values * scale
    else:
        values = phi.value(logits, targets, PHI)
    values = values.to(y.dtype.element_ty)
    if MASKED:
        tl.store(y + start + lanes, values, mask=lanes < n - start)
    else:
        tl.store(y + start + lanes, values)


@triton.jit
def map_tensors(
    grad, key_pointer, xs, gs, ys, ns, ts, flip, noise, key, heads, first_stream,
    PHI: tl.constexpr, SLOPE: tl.constexpr, EACH: tl.constexpr, NOISY: tl.constexpr,
    MEAN: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr, TENSORS: tl.constexpr,
):  # fmt: skip
    """Elementwise, one block for each program.

    Without SLOPE y_j = phi(x_j, t_j): the loss with reduction "none". With SLOPE the gradient:
    with EACH y_j = phi'(x_j, t_j) * g_j, for "none"; without it y_j = phi'(x_j, t_j) * weight_j *
    grad, for a sum or a mean, where ``grad`` is a single number that is read here, on the device.
    """
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    if key_pointer is not None:
        key = tl.load(key_pointer)
    key = wide_integer(key)
    index, block = find(tl.program_id(0), BLOCK_LOG2, xs, ns, TENSORS)
    x, y = pick(xs, index, TENSORS), pick(ys, index, TENSORS)
    n = wide_integer(pick(ns, index, TENSORS))
    t = real(pick(ts, index, TENSORS), WIDE)
    g, scale = x, t  # stand in for what is not there; neither is read then
    if SLOPE and EACH:
        g = pick(gs, index, TENSORS)
    elif SLOPE:
        share = wide_integer(heads) * n if MEAN else wide_integer(heads)
        scale = tl.load(grad).to(t.dtype) / share.to(t.dtype)
    stream, start = wide_integer(first_stream) + index, block * BLOCK
    if start + BLOCK <= n:
        map_block(
            x, g, y, n, t, flip, noise, key, stream, start, scale,
            False, PHI, SLOPE, EACH, NOISY, WIDE, BLOCK,
        )  # fmt: skip
    else:
        map_block(
            x, g, y, n, t, flip, noise, key, stream, start, scale,
            True, PHI, SLOPE, EACH, NOISY, WIDE, BLOCK,
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
    PHI: tl.constexpr, SLOPE: tl.constexpr, EACH: tl.constexpr, NOISY: tl.constexpr,
    MEAN: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """:func:`map_tensors` for up to eight."""
    map_tensors(
        grad, key_pointer,
        (x0, x1, x2, x3, x4, x5, x6, x7), (g0, g1, g2, g3, g4, g5, g6, g7),
        (y0, y1, y2, y3, y4, y5, y6, y7), (n0, n1, n2, n3, n4, n5, n6, n7),
        (t0, t1, t2, t3, t4, t5, t6, t7), flip, noise, key, heads, first_stream,
        PHI, SLOPE, EACH, NOISY, MEAN, WIDE, BLOCK_LOG2, 8,
    )  # fmt: skip


@triton.jit(do_not_specialize=_OF_PAIR)
def map_pair_kernel(
    grad, key_pointer, x0, x1, g0, g1, y0, y1,
    n0: tl.int64, n1: tl.int64, t0: tl.int64, t1: tl.int64,
    flip: tl.int64, noise: tl.int64, key: tl.int64, heads: tl.int64, first_stream: tl.int64,
    PHI: tl.constexpr, SLOPE: tl.constexpr, EACH: tl.constexpr, NOISY: tl.constexpr,
    MEAN: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """:func:`map_tensors` for one or two."""
    map_tensors(
        grad, key_pointer, (x0, x1), (g0, g1), (y0, y1), (n0, n1), (t0, t1),
        flip, noise, key, heads, first_stream,
        PHI, SLOPE, EACH, NOISY, MEAN, WIDE, BLOCK_LOG2, 2,
    )  # fmt: skip
