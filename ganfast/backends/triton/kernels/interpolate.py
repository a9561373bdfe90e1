"""Points between real and fake samples, and the gradient of that: eps is drawn in the kernel."""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels.philox import uniform
from ganfast.backends.triton.kernels.rows import place, read, write
from ganfast.backends.triton.kernels.scalars import wide_integer

_SCALARS = ["elements", "group", "key"]


@triton.jit
def epsilon(row, group, key_pointer, key, WIDE: tl.constexpr):
    """eps of a row or of each element's row."""
    if key_pointer is not None:
        key = tl.load(key_pointer)
    eps = uniform(wide_integer(key), row // wide_integer(group))
    return eps.to(tl.float64) if WIDE else eps


@triton.jit
def blend_block(
    out, real, fake, left, eps, MASKED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):
    x, y = read(real, left, MASKED, WIDE, BLOCK), read(fake, left, MASKED, WIDE, BLOCK)
    write(out, eps * x + (1.0 - eps) * y, left, MASKED, BLOCK)


@triton.jit(do_not_specialize=_SCALARS)
def interpolate_kernel(
    out, real, fake, key_pointer,
    length: tl.int64, elements: tl.int64, group: tl.int64, key: tl.int64,
    SHORT: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """out_i = eps_i real_i + (1 - eps_i) fake_i."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    first, left, row = place(length, elements, SHORT, BLOCK)
    eps = epsilon(row, group, key_pointer, key, WIDE)
    if left >= BLOCK:
        blend_block(out + first, real + first, fake + first, left, eps, False, WIDE, BLOCK)
    else:
        blend_block(out + first, real + first, fake + first, left, eps, True, WIDE, BLOCK)


@triton.jit
def split_block(
    of_real, of_fake, grad, first, left, eps,
    MASKED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    g = read(grad + first, left, MASKED, WIDE, BLOCK)
    if of_real is not None:
        write(of_real + first, eps * g, left, MASKED, BLOCK)
    if of_fake is not None:
        write(of_fake + first, (1.0 - eps) * g, left, MASKED, BLOCK)


@triton.jit(do_not_specialize=_SCALARS)
def interpolate_gradient_kernel(
    of_real, of_fake, grad, key_pointer,
    length: tl.int64, elements: tl.int64, group: tl.int64, key: tl.int64,
    SHORT: tl.constexpr, WIDE: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """of_real_i = eps_i grad_i and of_fake_i = (1 - eps_i) grad_i, whichever is there."""
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    first, left, row = place(length, elements, SHORT, BLOCK)
    eps = epsilon(row, group, key_pointer, key, WIDE)
    if left >= BLOCK:
        split_block(of_real, of_fake, grad, first, left, eps, False, WIDE, BLOCK)
    else:
        split_block(of_real, of_fake, grad, first, left, eps, True, WIDE, BLOCK)
