"""What the kernels of the penalty share: where a program works in a matrix of samples.

A sample (or group of samples) is a row of ``length`` contiguous elements. Long rows are cut into
blocks, none of which crosses into the next row, so that what belongs to a row is one number for the
whole block. Short rows (less than a block) share blocks, and each element finds its own row.

``length`` alone of the integers may be specialised (on being a multiple of 16): only so does the
compiler know that a block starts at an aligned address.
"""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels.scalars import wide_integer


@triton.jit
def place(length, elements, SHORT: tl.constexpr, BLOCK: tl.constexpr):
    """This program's first element, how many are left from there on, and the row of each or all."""
    length = wide_integer(length)
    # Divisions of many numbers, and of what certainly fits, in int32: int64's is a subroutine.
    if SHORT:
        first = wide_integer(tl.program_id(0)) * BLOCK
        left = wide_integer(elements) - first
        row = first // length
        within = (first - row * length).to(tl.int32) + tl.arange(0, BLOCK)
        row = row + within // length.to(tl.int32)
    else:
        pieces = ((length + BLOCK - 1) // BLOCK).to(tl.int32)
        row = wide_integer(tl.program_id(0) // pieces)
        start = wide_integer(tl.program_id(0) % pieces) * BLOCK
        first = row * length + start
        left = length - start
    return first, left, row


@triton.jit
def read(x, left, MASKED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """One block from pointer ``x`` on, zero beyond ``left``, widened at once."""
    lanes = tl.arange(0, BLOCK)
    value = tl.load(x + lanes, mask=lanes < left, other=0.0) if MASKED else tl.load(x + lanes)
    return value.to(tl.float64) if WIDE else value.to(tl.float32)


@triton.jit
def write(y, value, left, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    """One block to pointer ``y`` on, nothing beyond ``left``."""
    lanes = tl.arange(0, BLOCK)
    value = value.to(y.dtype.element_ty)
    if MASKED:
        tl.store(y + lanes, value, mask=lanes < left)
    else:
        tl.store(y + lanes, value)


@triton.jit
def is_last(counter, programs):
    """Whether this program is the last to arrive here; it then sees what all others stored."""
    tl.debug_barrier()
    return tl.atomic_add(counter, 1, sem="acq_rel") == programs - 1
