"""uint8 images as a network wants them: resized, scaled, channels_last."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ganfast.reference.losses import accumulation_dtype


class PreprocessSpec(NamedTuple):
    """scale * resized + shift, the resized values clipped to 0..255 if ``clip``, as (height, width)
    pixels; ``resize`` is one of "bilinear", "tf1" and "pil-bicubic"."""

    resize: str
    scale: float
    shift: float
    clip: bool
    height: int
    width: int


class Taps(NamedTuple):
    """One direction of a resize: out_i = sum_k weights[i, k] * in[starts[i] + k].

    Every position is inside the input, so that a kernel needs no mask; where an output needs fewer
    taps than another the rest of its weights are 0.
    """

    starts: Tensor  # (out,) int32
    weights: Tensor  # (out, taps) float64


@lru_cache(maxsize=64)  # the other backends keep what they make of it
def resize_taps(resize: str, size: int, out_size: int) -> Taps:
    """The taps from ``size`` to ``out_size`` pixels, on the CPU.

    Coordinates of the bilinear ones are float32, because the tools that define them have them so:
    at pixel 1000 that moves a weight by 3e-5.
    """
    if size == out_size:
        starts = torch.arange(size, dtype=torch.int32, device="cpu")
        return Taps(starts, torch.ones(size, 1, dtype=torch.float64, device="cpu"))
    if resize == "pil-bicubic":
        return _bicubic_taps(size, out_size)
    scale = torch.tensor(size / out_size, dtype=torch.float32, device="cpu").double()
    at = torch.arange(out_size, dtype=torch.float64, device="cpu")
    # Rounded once, below, as torch's fused multiply-add.
    at = (at + 0.5) * scale - 0.5 if resize == "bilinear" else at * scale
    return _bilinear_taps(at.clamp_(min=0).float(), size)


def _bilinear_taps(at: Tensor, size: int) -> Taps:
    """Of the two pixels around each of ``at``, or of the last one beyond it."""
    low = at.floor().clamp_(max=size - 1)
    share = (at - low).clamp_(max=1).double()
    if size == 1:
        return Taps(low.int(), torch.ones_like(share)[:, None])
    last = low == size - 1  # there the pixel before gets weight 0
    share = torch.where(last, 1.0, share)
    starts = torch.where(last, low - 1, low).int()
    return Taps(starts, torch.stack([1 - share, share], dim=1))


def _bicubic_taps(size: int, out_size: int) -> Taps:
    """Keys' cubic with a = -1/2, stretched by in / out where that is more than 1 and cut at the
    border: the weights of what is left are normalised."""
    scale = size / out_size
    stretch = max(scale, 1.0)
    centre = (torch.arange(out_size, dtype=torch.float64, device="cpu") + 0.5) * scale
    first = (centre - 2 * stretch + 0.5).trunc().clamp_(min=0)
    end = (centre + 2 * stretch + 0.5).trunc().clamp_(max=size)
    taps = int((end - first).max())
    starts = first.clamp(max=size - taps)
    pixel = starts[:, None] + torch.arange(taps, dtype=torch.float64, device="cpu")
    x = ((pixel - centre[:, None] + 0.5) / stretch).abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
    weights[(pixel < first[:, None]) | (pixel >= end[:, None])] = 0.0
    return Taps(starts.int(), weights / weights.sum(1, keepdim=True))


def _along(x: Tensor, taps: Taps, dim: int) -> Tensor:
    """``x`` resized in one dimension."""
    shape = [1] * x.dim()
    shape[dim] = -1
    starts, weights = taps.starts.to(x.device), taps.weights.to(x.device, x.dtype)
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    for k in range(weights.shape[1]):
        total = total + weights[:, k].view(shape) * x.index_select(dim, starts + k)
    return total


def preprocess(
    images: Tensor | Sequence[Tensor], spec: PreprocessSpec, dtype: torch.dtype
) -> Tensor:
    """(n, 3, height, width) of ``dtype`` in channels_last, of uint8 images (n, h, w, 3), or of
    (h, w, 3) each (at least one), in any layout, all on one device.

    Computed in float32, in float64 for float64, and rounded once.
    """
    if not isinstance(images, Tensor):
        parts = [preprocess(image[None], spec, dtype) for image in images]
        return torch.cat(parts).contiguous(memory_format=torch.channels_last)
    x = images.to(accumulation_dtype(dtype))
    height, width = images.shape[1:3]
    x = _along(x, resize_taps(spec.resize, width, spec.width), 2)
    x = _along(x, resize_taps(spec.resize, height, spec.height), 1)
    if spec.clip:
        x = x.clamp(0, 255)
    x = (spec.scale * x + spec.shift).to(dtype)
    return x.contiguous().permute(0, 3, 1, 2)
