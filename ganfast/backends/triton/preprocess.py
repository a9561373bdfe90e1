"""The host's part of the preprocessing: strides of any layout, tables on the device, the launch.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import triton
from torch import Tensor

from ganfast.backends.triton.kernels.preprocess import preprocess_kernel
from ganfast.backends.triton.launch import OPTIONS, on_device
from ganfast.reference.preprocess import PreprocessSpec, resize_taps

_BLOCK_LOG2 = 9
"""4 values for each of 128 threads, in one store. With 8 a bicubic takes up to 140 registers, not
72, and what hides the latency of the loads is many threads. (Reasoned, not yet measured.)"""

_MOST_UNROLLED = 4
"""Taps of one direction: 2 of the bilinear resizes, 4 of an enlarging bicubic one."""


def preprocess(
    images: Tensor | Sequence[Tensor], spec: PreprocessSpec, dtype: torch.dtype
) -> Tensor:
    """As in the reference, for float32, float16 and bfloat16.

    One launch for a tensor, one for each image of a sequence. A size that was not seen before sends
    its table of weights to the device: before a CUDA graph is captured, run it once.
    """
    groups = [images] if isinstance(images, Tensor) else [image[None] for image in images]
    count = sum(len(group) for group in groups)
    device = groups[0].device
    out = torch.empty(count, spec.height, spec.width, 3, dtype=dtype, device=device)
    first = 0
    with on_device(device):
        for group in groups:
            if len(group):
                _launch(out[first : first + len(group)], group, spec)
            first += len(group)
    return out.permute(0, 3, 1, 2)


def _launch(out: Tensor, images: Tensor, spec: PreprocessSpec) -> None:
    stream = torch.cuda.current_stream().cuda_stream if images.is_cuda else 0
    down = _table(spec.resize, images.shape[1], spec.height, images.device, stream)
    across = _table(spec.resize, images.shape[2], spec.width, images.device, stream)
    taps = down[1].shape[1], across[1].shape[1]
    unrolled = max(taps) <= _MOST_UNROLLED
    preprocess_kernel[(triton.cdiv(out.numel(), 1 << _BLOCK_LOG2),)](
        out, images, *down, *across, out.numel(), spec.height, spec.width,
        *images.stride(), *taps, spec.scale, spec.shift,
        DOWN=taps[0] if unrolled else 0, ACROSS=taps[1] if unrolled else 0, CLIP=spec.clip,
        BLOCK_LOG2=_BLOCK_LOG2, **OPTIONS,
    )  # fmt: skip


@lru_cache(maxsize=1024)  # 67 MB if all are bicubics from 4000 to 299 pixels
def _table(
    resize: str, size: int, out_size: int, device: torch.device, stream: int
) -> tuple[Tensor, Tensor]:
    """The starts and weights of one direction on ``device``.

    For each stream its own, so that what is sent, read and at last freed is in that stream's order.
    """
    starts, weights = resize_taps(resize, size, out_size)
    return starts.to(device), weights.float().to(device)
