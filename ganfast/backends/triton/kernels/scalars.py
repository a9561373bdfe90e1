"""Scalar arguments of kernels, as they cross from the host."""

import triton
import triton.language as tl


@triton.jit
def wide_integer(number):
    """An int64 for sure: the interpreter keeps small integers in 32 bits, whatever it says."""
    return tl.zeros((), tl.int64) + number


@triton.jit
def real(bits, WIDE: tl.constexpr):
    """The real number that came as the bits of a float64."""
    number = wide_integer(bits).to(tl.float64, bitcast=True)
    return number if WIDE else number.to(tl.float32)
