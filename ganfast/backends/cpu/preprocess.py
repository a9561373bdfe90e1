"""uint8 images to a network's input: finds rows in any layout, keeps the tables of weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast.backends.cpu.dtypes import CODE
from ganfast.reference.preprocess import PreprocessSpec, resize_taps


class _Table:
    """The taps of one direction as csrc/cpu/preprocess.h has them: sizes and addresses."""

    def __init__(self, resize: str, size: int, out_size: int) -> None:
        starts, weights = resize_taps(resize, size, out_size)
        self._kept = starts, narrow = starts, weights.float()
        self.numbers = size, weights.shape[1], starts.data_ptr(), narrow.data_ptr()


_table = lru_cache(maxsize=1024)(_Table)  # 67 MB if all are bicubics from 4000 to 299 pixels


def preprocess(
    images: Tensor | Sequence[Tensor], spec: PreprocessSpec, dtype: torch.dtype
) -> Tensor:
    """As in the reference, for float32, float16 and bfloat16."""
    groups, kept = [], []
    count = 0
    for image in (images,) if isinstance(images, Tensor) else images:
        x, strides = _rows(image)
        n = x.shape[0] if x.dim() == 4 else 1
        height, width = x.shape[-3:-1]
        down = _table(spec.resize, height, spec.height)
        across = _table(spec.resize, width, spec.width)
        groups.append((x.data_ptr(), n, strides, down.numbers, across.numbers))
        kept.append((x, down, across))  # their addresses are in use until the end
        count += n
    out = torch.empty(count, spec.height, spec.width, 3, dtype=dtype, device="cpu")
    _cpu.preprocess(
        groups,
        out.data_ptr(),
        CODE[dtype],
        spec.height,
        spec.width,
        spec.scale,
        spec.shift,
        spec.clip,
        torch.get_num_threads(),
    )
    return out.permute(0, 3, 1, 2)


def _rows(x: Tensor) -> tuple[Tensor, tuple[int, int, int, int]]:
    """``x`` (n, h, w, 3) or (h, w, 3), or a copy, in which a row is contiguous, or each of its
    channels is; and the strides of images, rows and (else 0) channels."""
    stride = x.stride()
    if stride[-1] == 1 and (stride[-2] == 3 or x.shape[-2] == 1):
        channel = 0
    elif stride[-2] == 1 and stride[-1]:
        channel = stride[-1]
    else:
        return _rows(x.contiguous())
    return x, (stride[0] if len(stride) == 4 else 0, stride[-3], channel, 0)
