"""Feature matching: a sum over pairs of tensors, and its gradient.

Programs find their pair as in losses.py, whose conventions hold here too: up to MAX_TENSORS pairs
of one dtype in one launch, absent pointers None, scalars as int64, real numbers as their bits.
"""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels.blocks import find, load, pick
from ganfast.backends.triton.kernels.losses import MAX_TENSORS, gather
from ganfast.backends.triton.kernels.scalars import real, wide_integer

_SCALARS = [f"{name}{j}" for name in "nw" for j in range(MAX_TENSORS)]


@triton.jit
def error(f, r, n, start, MASKED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """fake - real of one block, 0 beyond the count."""
    lanes = tl.arange(0, BLOCK)
    fakes = load(f + start + lanes, n, start, lanes, MASKED, WIDE)
    return fakes - load(r + start + lanes, n, start, lanes, MASKED, WIDE)


@triton.jit
def distance(e, SQUARE: tl.constexpr):
    return e * e if SQUARE else tl.abs(e)


@triton.jit(do_not_specialize=[*_SCALARS, "loops_log2", "first_program", "programs"])
def distance_kernel(
    out, partials, counter,
    f0, f1, f2, f3, f4, f5, f6, f7,
    r0, r1, r2, r3, r4, r5, r6, r7,
    n0: tl.int64, n1: tl.int64, n2: tl.int64, n3: tl.int64,
    n4: tl.int64, n5: tl.int64, n6: tl.int64, n7: tl.int64,
    w0: tl.int64, w1: tl.int64, w2: tl.int64, w3: tl.int64,
    w4: tl.int64, w5: tl.int64, w6: tl.int64, w7: tl.int64,
    loops_log2: tl.int64, first_program: tl.int64, programs: tl.int64,
    SQUARE: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """out = sum_j w_j * sum_i d(f_j[i] - r_j[i]); the last program adds the others' partial sums,
    in the order of their numbers, as in the losses' sum_kernel."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    fs = (f0, f1, f2, f3, f4, f5, f6, f7)
    rs = (r0, r1, r2, r3, r4, r5, r6, r7)
    ns = (n0, n1, n2, n3, n4, n5, n6, n7)
    ws = (w0, w1, w2, w3, w4, w5, w6, w7)
    loops = wide_integer(loops_log2)
    program = tl.program_id(0)
    index, chunk = find(program, loops + BLOCK_LOG2, fs, ns)
    f, r, n = pick(fs, index), pick(rs, index), wide_integer(pick(ns, index))
    lanes_sum = tl.zeros((BLOCK,), tl.float64 if WIDE else tl.float32)
    first, blocks = chunk << loops, wide_integer(1) << loops
    # Compared in int64, looped in int32: `blocks` is what one program does, never many.
    whole = tl.minimum(blocks, n // BLOCK - first).to(tl.int32)
    for k in range(whole):
        lanes_sum += distance(error(f, r, n, (first + k) * BLOCK, False, WIDE, BLOCK), SQUARE)
    start = (first + whole) * BLOCK
    if (whole < blocks) & (start < n):
        lanes_sum += distance(error(f, r, n, start, True, WIDE, BLOCK), SQUARE)
    partial = tl.sum(lanes_sum, axis=0) * real(pick(ws, index), WIDE)
    tl.store(partials + first_program + program, partial)
    # Release what this program stored, acquire what the others did before they counted.
    tl.debug_barrier()
    arrived = tl.atomic_add(counter, 1, sem="acq_rel")
    if arrived == programs - 1:
        REAL: tl.constexpr = tl.float64 if WIDE else tl.float32
        tl.store(out, gather(partials, programs, REAL))
        tl.store(counter, 0)


@triton.jit
def slope_block(
    f, r, y, n, start, scale,
    MASKED: tl.constexpr, SQUARE: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = scale * d'(f - r) for one block."""
    e = error(f, r, n, start, MASKED, WIDE, BLOCK)
    if SQUARE:
        slopes = (e + e) * scale
    else:
        slopes = tl.where(e > 0, scale, tl.where(e < 0, -scale, e * scale))  # a NaN stays one
    lanes = tl.arange(0, BLOCK)
    slopes = slopes.to(y.dtype.element_ty)
    if MASKED:
        tl.store(y + start + lanes, slopes, mask=lanes < n - start)
    else:
        tl.store(y + start + lanes, slopes)


@triton.jit(do_not_specialize=_SCALARS)
def distance_gradient_kernel(
    grad,
    f0, f1, f2, f3, f4, f5, f6, f7,
    r0, r1, r2, r3, r4, r5, r6, r7,
    y0, y1, y2, y3, y4, y5, y6, y7,
    n0: tl.int64, n1: tl.int64, n2: tl.int64, n3: tl.int64,
    n4: tl.int64, n5: tl.int64, n6: tl.int64, n7: tl.int64,
    w0: tl.int64, w1: tl.int64, w2: tl.int64, w3: tl.int64,
    w4: tl.int64, w5: tl.int64, w6: tl.int64, w7: tl.int64,
    SQUARE: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """y_j = grad * w_j * d'(f_j - r_j), one block for each program; ``grad`` is a single number
    that is read here, on the device."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    fs = (f0, f1, f2, f3, f4, f5, f6, f7)
    rs = (r0, r1, r2, r3, r4, r5, r6, r7)
    ys = (y0, y1, y2, y3, y4, y5, y6, y7)
    ns = (n0, n1, n2, n3, n4, n5, n6, n7)
    ws = (w0, w1, w2, w3, w4, w5, w6, w7)
    index, block = find(tl.program_id(0), BLOCK_LOG2, fs, ns)
    f, r, y, n = pick(fs, index), pick(rs, index), pick(ys, index), wide_integer(pick(ns, index))
    w = real(pick(ws, index), WIDE)
    scale = tl.load(grad).to(w.dtype) * w
    start = block * BLOCK
    if start + BLOCK <= n:
        slope_block(f, r, y, n, start, scale, False, SQUARE, WIDE, BLOCK)
    else:
        slope_block(f, r, y, n, start, scale, True, SQUARE, WIDE, BLOCK)
