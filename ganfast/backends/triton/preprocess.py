"""The host's part of the preprocessing: strides of any layout, tables on the device, one launch.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import triton
from torch import Tensor

from ganfast.backends.triton.kernels.preprocess import (
    COLUMNS,
    preprocess_each_kernel,
    preprocess_kernel,
)
from ganfast.backends.triton.launch import bind, capturing, on_device
from ganfast.errors import InputError
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

    One launch, for images of many sizes too. A size that was not seen before sends its table of
    weights to the device, and images of many sizes a table of theirs each time: a CUDA graph can be
    captured of a tensor alone, after it has run once.
    """
    device = images.device if isinstance(images, Tensor) else images[0].device
    out = torch.empty(len(images), spec.height, spec.width, 3, dtype=dtype, device=device)
    with on_device(device):
        if not len(images):
            pass
        elif isinstance(images, Tensor):
            _launch(out, images, spec)
        else:
            _launch_each(out, images, spec)
    return out.permute(0, 3, 1, 2)


def _launch(out: Tensor, images: Tensor, spec: PreprocessSpec) -> None:
    stream = torch.cuda.current_stream().cuda_stream if images.is_cuda else 0
    down = _table(spec.resize, images.shape[1], spec.height, images.device, stream)
    across = _table(spec.resize, images.shape[2], spec.width, images.device, stream)
    taps = down[1].shape[1], across[1].shape[1]
    unrolled = max(taps) <= _MOST_UNROLLED
    kernel = bind(
        preprocess_kernel,
        DOWN=taps[0] if unrolled else 0,
        ACROSS=taps[1] if unrolled else 0,
        CLIP=spec.clip,
        BLOCK_LOG2=_BLOCK_LOG2,
    )
    kernel(
        out.device, triton.cdiv(out.numel(), 1 << _BLOCK_LOG2), (out, images, *down, *across),
        out.numel(), spec.height, spec.width, *images.stride(), *taps, spec.scale, spec.shift,
    )  # fmt: skip


def _launch_each(out: Tensor, images: Sequence[Tensor], spec: PreprocessSpec) -> None:
    if capturing(out.device):
        raise InputError(
            f"images: got a list of {len(images)} while a CUDA graph is being captured, whose "
            "replays would find their sizes no more; give one tensor"
        )
    pixels, images = _in_one_memory(images)
    made = {}  # of the sizes that there are, each once
    for image in images:
        for way, out_size in ((0, spec.height), (1, spec.width)):
            size = image.shape[way]
            made[way, size] = _host_table(spec.resize, size, out_size)
    at, places = 2 * COLUMNS * len(images), {}
    for key, (words, _) in made.items():
        places[key], at = at, at + len(words)
    host = torch.empty(-(-at // 2), dtype=torch.int64, device="cpu", pin_memory=out.is_cuda)
    table, flat = host.numpy(), host.numpy().view(np.int32)
    for key, (words, _) in made.items():
        flat[places[key] : places[key] + len(words)] = words
    rows = []
    for image in images:
        keys = enumerate(image.shape[:2])
        ways = [word for key in keys for word in (places[key], made[key][1])]
        rows.append((image.storage_offset(), *image.stride(), *ways))
    table[: COLUMNS * len(images)] = np.array(rows, dtype=np.int64).ravel()
    sent = host.to(out.device, non_blocking=True)
    taps = [{many for (own, _), (_, many) in made.items() if own == way} for way in (0, 1)]
    unrolled = all(len(own) == 1 and max(own) <= _MOST_UNROLLED for own in taps)
    down, across = (max(own) if unrolled else 0 for own in taps)
    programs = triton.cdiv(out[0].numel(), 1 << _BLOCK_LOG2)
    kernel = bind(
        preprocess_each_kernel, DOWN=down, ACROSS=across, CLIP=spec.clip, BLOCK_LOG2=_BLOCK_LOG2
    )
    kernel(
        out.device, programs * len(images),
        (out, pixels, sent, sent.view(torch.int32), sent.view(torch.float32)),
        spec.height, spec.width, programs, spec.scale, spec.shift,
    )  # fmt: skip


def _in_one_memory(images: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
    """A flat tensor, and the images as views of its memory: copies, where they lie apart."""
    storage = images[0].untyped_storage()
    apart = any(x.untyped_storage().data_ptr() != storage.data_ptr() for x in images[1:])
    if not apart:
        return images[0].new_empty(0).set_(storage), images
    pixels = torch.cat([image.reshape(-1) for image in images])
    parts = pixels.split([image.numel() for image in images])
    return pixels, [one.view(image.shape) for one, image in zip(parts, images, strict=True)]


@lru_cache(maxsize=1024)
def _host_table(resize: str, size: int, out_size: int) -> tuple[np.ndarray, int]:
    """Starts and weights of one direction in words of 4 bytes, and the number of taps."""
    starts, weights = resize_taps(resize, size, out_size)
    words = weights.float().flatten().view(torch.int32)
    return torch.cat([starts, words]).numpy(), weights.shape[1]


def _sent(x: Tensor, device: torch.device) -> Tensor:
    """``x``, of the host, on ``device``, without waiting for it."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


_Table = tuple[Tensor, Tensor]
_Kind = tuple[str, int, int, torch.device]
_tables: dict[tuple[_Kind, int], _Table] = {}
_captured: dict[_Kind, _Table] = {}
_REMEMBERED = 1024  # 67 MB if all are bicubics from 4000 to 299 pixels


def _table(resize: str, size: int, out_size: int, device: torch.device, stream: int) -> _Table:
    """The starts and weights of one direction on ``device``.

    For each stream its own, so that what is sent, read and at last freed is in that stream's order.
    A CUDA graph reads one that is there, of whatever stream, since its capture begins when the
    device has done all; and that one stays for ever.
    """
    kind = resize, size, out_size, device
    if capturing(device):
        found = _captured.get(kind)
        found = found or next((x for (of, _), x in _tables.items() if of == kind), None)
        if found is None:
            raise InputError(
                f"images: got {size} pixels to be resized to {out_size} for the first time while a "
                "CUDA graph is being captured; preprocess a batch of this size before the capture"
            )
        _captured[kind] = found
        return found
    table = _tables.get((kind, stream))
    if table is None:
        if len(_tables) >= _REMEMBERED:
            del _tables[next(iter(_tables))]
        starts, weights = resize_taps(resize, size, out_size)
        table = _tables[kind, stream] = _sent(starts, device), _sent(weights.float(), device)
    return table
