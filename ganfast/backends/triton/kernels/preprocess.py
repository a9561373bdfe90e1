"""uint8 images to a network's input: each value of the result gathers its own pixels.

Neighbouring values read the same pixels, which the caches hold: memory sees an image once and the
result once. In both directions together a value takes 4 (bilinear) or 16 loads; where images
shrink, a bicubic one takes 16 for each pixel of the image.

Images of one size and stride are one launch, images of any size another, for which a table says
where each lies and how it is resized.
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


@triton.jit
def resized(
    images, offset, step, line, down_weights, across_weights, down, across,
    DOWN: tl.constexpr, ACROSS: tl.constexpr, CLIP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The values whose first taps are at ``offset``."""
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
    # first / values, bit by bit: int64's division is a subroutine, for which threads keep a stack.
    image = wide_integer(tl.program_id(0) // values)
    rest = tl.program_id(0) % values
    for _ in range(BLOCK_LOG2):
        over = rest >= values - rest
        image = 2 * image + over
        rest = rest - tl.where(over, values - rest, -rest)
    within = rest + lanes
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
    total = resized(
        images, offset, step, line, down_weights, across_weights, down, across,
        DOWN, ACROSS, CLIP, BLOCK,
    )  # fmt: skip
    result = (scale * total + shift).to(out.dtype.element_ty)
    to = out + first + tl.arange(0, BLOCK)
    if left >= BLOCK:
        tl.store(to, result)
    else:
        tl.store(to, result, mask=tl.arange(0, BLOCK) < left)


COLUMNS = 8
"""Of the table of preprocess_each_kernel, whose rows are images: the index of the first pixel, the
strides of rows, pixels and channels; then, down and across, where the starts lie, followed by the
weights, in words of 4 bytes from the table's beginning, and the number of taps."""
_COLUMNS = tl.constexpr(COLUMNS)


@triton.jit(do_not_specialize=["height", "width", "programs"])
def preprocess_each_kernel(
    out, pixels, table, starts, weights,
    height: tl.int64, width: tl.int64, programs: tl.int64, scale, shift,
    DOWN: tl.constexpr, ACROSS: tl.constexpr, CLIP: tl.constexpr, BLOCK_LOG2: tl.constexpr,
):  # fmt: skip
    """The same of images of many sizes, each of which ``programs`` programs make.

    ``table``, ``starts`` and ``weights`` are one memory, read as int64, int32 and float32.
    """
    BLOCK: tl.constexpr = 1 << BLOCK_LOG2
    image = wide_integer(tl.program_id(0)) // wide_integer(programs)
    row = table + image * _COLUMNS
    images = pixels + tl.load(row)
    line, step, plane = tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    down_at, across_at = tl.load(row + 4), tl.load(row + 6)
    down = DOWN if DOWN > 0 else tl.load(row + 5).to(tl.int32)
    across = ACROSS if ACROSS > 0 else tl.load(row + 7).to(tl.int32)
    down_starts, down_weights = starts + down_at, weights + down_at + wide_integer(height)
    across_starts, across_weights = starts + across_at, weights + across_at + wide_integer(width)
    rows, columns = wide_integer(height).to(tl.int32), wide_integer(width).to(tl.int32)
    values = rows * columns * 3
    first = (tl.program_id(0) - image * wide_integer(programs)).to(tl.int32) * BLOCK
    lanes = first + tl.arange(0, BLOCK)
    within = tl.minimum(lanes, values - 1)  # no load needs a mask
    channel, place = within % 3, within // 3
    y, x = place // columns, place % columns
    offset = channel * plane + tl.load(across_starts + x) * step + tl.load(down_starts + y) * line
    total = resized(
        images, offset, step, line, down_weights + y * down, across_weights + x * across,
        down, across, DOWN, ACROSS, CLIP, BLOCK,
    )  # fmt: skip
    result = (scale * total + shift).to(out.dtype.element_ty)
    tl.store(out + image * values + lanes, result, mask=lanes < values)
