"""Blocks of tensors of logits: which is a program's, and the sums over some of them.

A block that lies wholly inside its tensor is loaded without a mask, so that the loads are vectors
whatever the count; only the last block of a tensor is masked.
"""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels import phi
from ganfast.backends.triton.kernels.philox import noisy_targets
from ganfast.backends.triton.kernels.scalars import real, wide_integer


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
def load_difference(
    x, m, n, start, MASKED: tl.constexpr, PAIRED: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """What phi is taken of, of one block."""
    lanes = tl.arange(0, BLOCK)
    logits = load(x + start + lanes, n, start, lanes, MASKED, WIDE)
    if PAIRED:
        logits -= load(m + start + lanes, n, start, lanes, MASKED, WIDE)
    return logits


@triton.jit
def block_sum(
    x, m, n, t, flip, noise, key, stream, start,
    MASKED: tl.constexpr, PHI: tl.constexpr, PAIRED: tl.constexpr, NOISY: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """phi of one block, zero beyond the count: what each lane adds to its own sum."""
    lanes = tl.arange(0, BLOCK)
    logits = load_difference(x, m, n, start, MASKED, PAIRED, WIDE, BLOCK)
    targets = block_targets(t, flip, noise, key, stream, start, NOISY, WIDE, BLOCK)
    values = phi.value(logits, targets, PHI)
    if MASKED:
        values = tl.where(lanes < n - start, values, 0.0)
    return values


@triton.jit
def range_sum(
    x, m, n, t, flip, noise, key, stream, first_block, blocks,
    PHI: tl.constexpr, PAIRED: tl.constexpr, NOISY: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The sum over ``blocks`` blocks of one tensor; the last may be cut short or missing."""
    lanes_sum = tl.zeros((BLOCK,), tl.float64 if WIDE else tl.float32)
    # Compared in int64, looped in int32: `blocks` is what one program does, never many.
    whole = tl.minimum(blocks, n // BLOCK - first_block).to(tl.int32)
    for k in range(whole):
        lanes_sum += block_sum(
            x, m, n, t, flip, noise, key, stream, (first_block + k) * BLOCK,
            False, PHI, PAIRED, NOISY, WIDE, BLOCK,
        )  # fmt: skip
    start = (first_block + whole) * BLOCK
    if (whole < blocks) & (start < n):
        lanes_sum += block_sum(
            x, m, n, t, flip, noise, key, stream, start, True, PHI, PAIRED, NOISY, WIDE, BLOCK
        )
    return tl.sum(lanes_sum, axis=0)


@triton.jit
def range_statistics(x, n, sign, first_block, blocks, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Over the same blocks, which are in the cache by then: the sum of the logits, and how many
    have the sign of ``sign``."""
    lanes = tl.arange(0, BLOCK)
    lanes_sum = tl.zeros((BLOCK,), tl.float64 if WIDE else tl.float32)
    lanes_right = tl.zeros((BLOCK,), tl.float64 if WIDE else tl.float32)
    blocks = tl.minimum(blocks, (n + BLOCK - 1) // BLOCK - first_block).to(tl.int32)
    for k in range(blocks):
        start = (first_block + k) * BLOCK
        logits = load(x + start + lanes, n, start, lanes, True, WIDE)
        lanes_sum += logits
        lanes_right += (logits * sign > 0).to(lanes_right.dtype)
    return tl.sum(lanes_sum, axis=0), tl.sum(lanes_right, axis=0)
