"""uint8 images to a network's input: keeps the tables of weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast.backends.cpu.layout import any_layout
from ganfast.reference.preprocess import PreprocessSpec, Taps, resize_taps

_preprocess = any_layout(_cpu.preprocess)


@lru_cache(maxsize=1024)  # 67 MB if all are bicubics from 4000 to 299 pixels
def _taps(resize: str, size: int, out_size: int) -> Taps:
    starts, weights = resize_taps(resize, size, out_size)
    return Taps(starts, weights.float())


def preprocess(
    images: Tensor | Sequence[Tensor], spec: PreprocessSpec, dtype: torch.dtype
) -> Tensor:
    """As in the reference, for float32, float16 and bfloat16."""
    images = (images,) if isinstance(images, Tensor) else tuple(images)
    shapes = [x.shape for x in images]
    count = sum(shape[0] if len(shape) == 4 else 1 for shape in shapes)
    down = tuple([_taps(spec.resize, shape[-3], spec.height) for shape in shapes])
    across = tuple([_taps(spec.resize, shape[-2], spec.width) for shape in shapes])
    out = torch.empty(count, spec.height, spec.width, 3, dtype=dtype, device="cpu")
    _preprocess(images, down, across, spec.scale, spec.shift, spec.clip, out)
    return out.permute(0, 3, 1, 2)
