"""uint8 images to a network's input: each value of the result gathers its own pixels.

Neighbouring values read the same pixels, which the caches hold: memory sees an image once and the
result once. In both directions together a value takes 4 (bilinear) or 16 loads; where images
shrink, a bicubic one takes 16 for each pixel of the image.
"""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels.scalars import wide_integer

_SCALARS = [
    "elements", "height", "width",
    "image_stride", "row_stride", "pixel_stride", "channel_stride",
    "down_taps", "across_taps",
]  # fmt: skip


@triton.jit
def across_row(images, offset, stride, weights, taps, TAPS: tl.constexpr, BLOCK: tl.constexpr):
    """One source row of each value, resized across; its first tap is at ``offset``."""
    total = tl.zeros((BLOCK,), tl.float32)
    if TAPS > 0:
        for k in tl.static_range(TAPS):
            pixel = tl.load(images + offset + k * stride).to(tl.float32)
            total += tl.load(weights + k) * pixel
    else:
        for k in range(taps):
            pixel = tl.load(images + offset + k * stride).to(tl.float32)
            total += tl.load(weights + k) * pixel
    return total


@triton.jit(do_not_specialize=_SCALARS)
def preprocess_kernel(
    out, images, down_starts, down_weights, across_starts, across_weights,
    elements: tl.int64, height: tl.int64, width: tl.int64,
    image_stride: tl.int64, row_stride: tl.int64, pixel_stride: tl.int64, channel_stride: tl.int64,
    down_taps: tl.int64, across_taps: tl.int64, scale, shift,
    DOWN: tl.constexpr, ACROSS: tl.constexpr, CLIP: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """out_j = scale * resized_j + shift, j running over images, rows, pixels and channels.

    ``DOWN`` and ``ACROSS`` are the numbers of taps, or 0 where there are too many to unroll.
    """
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    first = wide_integer(tl.program_id(0)) * BLOCK
    left = wide_integer(elements) - first
    # What lies behind the end makes the last value once more, so that no load needs a mask.
    lanes = tl.minimum(tl.arange(0, BLOCK), tl.minimum(left, BLOCK).to(tl.int32) - 1)
    rows, columns = wide_integer(height).to(tl.int32), wide_integer(width).to(tl.int32)
    values = rows * columns * 3
    image = first // values
    # What certainly fits is divided in int32: int64's division is a subroutine.
    within = (first - image * values).to(tl.int32) + lanes
    image = image + within // values
    within = within % values
    channel, place = within % 3, within // 3
    y, x = place // columns, place % columns
    step, line = wide_integer(pixel_stride), wide_integer(row_stride)
    offset = image * wide_integer(image_stride) + channel * wide_integer(channel_stride)
    offset += tl.load(across_starts + x) * step + tl.load(down_starts + y) * line
    down = DOWN if DOWN > 0 else wide_integer(down_taps).to(tl.int32)
    across = ACROSS if ACROSS > 0 else wide_integer(across_taps).to(tl.int32)
    down_weights += y * down
    across_weights += x * across
    total = tl.zeros((BLOCK,), tl.float32)
    if DOWN > 0:
        for k in tl.static_range(DOWN):
            at = offset + k * line
            row = across_row(images, at, step, across_weights, across, ACROSS, BLOCK)
            total += tl.load(down_weights + k) * row
    else:
        for k in range(down):
            at = offset + k * line
            row = across_row(images, at, step, across_weights, across, ACROSS, BLOCK)
            total += tl.load(down_weights + k) * row
    if CLIP:
        total = tl.minimum(tl.maximum(total, 0.0), 255.0)
    result = (scale * total + shift).to(out.dtype.element_ty)
    to = out + first + tl.arange(0, BLOCK)
    if left >= BLOCK:
        tl.store(to, result)
    else:
        tl.store(to, result, mask=tl.arange(0, BLOCK) < left)
