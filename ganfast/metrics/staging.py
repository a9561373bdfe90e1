"""Images on their way to a GPU: one copy a batch, from pinned memory, while the network runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

Images = Tensor | Sequence[Tensor]

DEPTH = 3
"""Batches on their way: one that the network reads, one that is copied, one that is packed."""

ROOM = 256 << 20
"""Bytes of images that are sent at once, if it is not a single one that is larger."""


def on_the_host(images: Images) -> bool:
    """Whether there are images, in the CPU's memory."""
    return len(images) > 0 and images[0].device.type == "cpu"


def sent(images: Images, device: torch.device) -> Images:
    """Images of the host on a GPU, without waiting, in the order of the current stream.

    They are views of one memory, with the strides that they had where these leave no gaps.
    """
    if isinstance(images, Tensor) and images.is_pinned():
        return images.to(device, non_blocking=True)
    buffer = pinned(_bytes(images))
    _pack(images, buffer)
    return _views(images, buffer.to(device, non_blocking=True))


def parts(images: Images, room: int = ROOM) -> list[Images]:
    """The images in order, in parts of at most ``room`` bytes or one image."""
    sizes = [image.numel() for image in images] if not isinstance(images, Tensor) else None
    if sizes is None:
        count = max(1, room // max(1, images[0].numel()))
        return [images[i : i + count] for i in range(0, len(images), count)]
    found, start, held = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and held + size > room:
            found.append(images[start:i])
            start, held = i, 0
        held += size
    return [*found, images[start:]]


def pinned(size: int) -> Tensor:
    """Memory of the host that a GPU copies from by itself; any, where no more can be pinned."""
    try:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)
    except RuntimeError:
        return torch.empty(size, dtype=torch.uint8)


class _Slot:
    def __init__(self) -> None:
        self.buffer: Tensor | None = None
        # Of a host that sleeps instead of asking again and again: decoders want the core.
        self.copied, self.read = torch.cuda.Event(), torch.cuda.Event(blocking=True)
        self.in_use = False

    def room(self, size: int) -> Tensor:
        if self.buffer is None or len(self.buffer) < size:
            self.buffer = None  # before there are two
            self.buffer = pinned(size + size // 4)
        return self.buffer[:size]


class Staging:
    """Sends images through DEPTH pinned buffers in turn, on a stream of its own.

    ::

        staging = Staging(device)
        for images in batches:
            staging.wait()
            with staging.sent(images) as there:
                batch = preprocess(there, protocol)
            network(batch)

    While the GPU is at one batch, the next is copied, and the host packs the one after it. It waits
    only for the batch that used the buffer before: that is what keeps it from running far ahead.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)
        self._slots = [_Slot() for _ in range(DEPTH)]
        self._turn = 0

    def wait(self) -> None:
        """Until the next buffer is free."""
        slot = self._slots[self._turn]
        if slot.in_use:
            slot.read.synchronize()
            slot.in_use = False

    @contextmanager
    def sent(self, images: Images) -> Iterator[Images]:
        """Images of the host on the device, views of one memory, for what is asked of the current
        stream inside of the ``with`` block."""
        self.wait()
        slot = self._slots[self._turn]
        self._turn = (self._turn + 1) % DEPTH
        buffer = slot.room(_bytes(images))
        _pack(images, buffer)
        current = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._stream):
            there = buffer.to(self.device, non_blocking=True)
            slot.copied.record(self._stream)
        current.wait_event(slot.copied)
        # Made on one stream and read on another, which must have read it before it is made again.
        there.record_stream(current)
        try:
            yield _views(images, there)
        finally:
            slot.read.record(current)
            slot.in_use = True


def _bytes(images: Images) -> int:
    return images.numel() if isinstance(images, Tensor) else sum(x.numel() for x in images)


def _pack(images: Images, buffer: Tensor) -> None:
    """Copy all pixels into ``buffer``, as _views() finds them."""
    if isinstance(images, Tensor):
        buffer.as_strided(images.shape, _strides(images)).copy_(images)
        return
    flat, start = buffer.numpy(), 0
    for image in images:
        stop = start + image.numel()
        np.copyto(flat[start:stop].reshape(image.shape), image.numpy())
        start = stop


def _views(images: Images, memory: Tensor) -> Images:
    """``images`` where _pack() has put them."""
    if isinstance(images, Tensor):
        return memory.as_strided(images.shape, _strides(images))
    flat = memory.split([image.numel() for image in images])
    return [one.view(image.shape) for one, image in zip(flat, images, strict=True)]


def _strides(images: Tensor) -> tuple[int, ...]:
    """Without gaps, in the order that they have: one that is kept is copied four times faster."""
    return torch.empty_like(images, device="meta").stride()
