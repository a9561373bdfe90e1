"""What a source of images yields."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read: its ``name`` (a path; inside an archive,
    ``archive/member``) and the ``reason``."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive images of a source: number b holds the positions from b * batch_size to
    (b + 1) * batch_size - 1, less those that could not be read.

    ``images`` are uint8 RGB: one tensor (n, h, w, 3) where all sizes agree, else a list of (h, w,
    3); an empty list where none could be read. They are to be read only: they may be views of the
    user's tensor, or of memory shared with the process that decoded them. ``positions`` has the
    place of each in the source, and ``labels`` its class where the source was asked for that.
    """

    number: int
    images: Tensor | list[Tensor]
    positions: list[int]
    skipped: list[Skipped] = field(default_factory=list)
    labels: list[int | str] | None = None


BatchStream: TypeAlias = Generator[Batch, None, None]
"""Batches one after another; closing it ends the processes that decode for it."""


@dataclass
class PackedBatch:
    """All pixels of a batch in one flat buffer, whatever the images' sizes: a tensor that crosses
    in shared memory takes a file descriptor, and there may be only a thousand of these."""

    number: int
    pixels: Tensor | np.ndarray
    sizes: list[tuple[int, int]]
    positions: list[int]
    skipped: list[Skipped]

    @classmethod
    def of(
        cls,
        number: int,
        images: Sequence[np.ndarray],
        positions: list[int],
        skipped: list[Skipped],
    ) -> PackedBatch:
        """Of ``images``, each (h, w, 3) uint8."""
        pixels = torch.empty(sum(image.size for image in images), dtype=torch.uint8)
        flat, start = pixels.numpy(), 0
        for image in images:
            flat[start : start + image.size].reshape(image.shape)[...] = image
            start += image.size
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        return cls(number, pixels, sizes, positions, skipped)

    def share(self) -> None:
        """Move the pixels to shared memory if there is room: containers often have only 64 MiB of
        it. Without it they go through a pipe, which is slower and always works."""
        assert isinstance(self.pixels, Tensor)
        try:
            self.pixels.share_memory_()
        except RuntimeError:
            self.pixels = self.pixels.numpy()

    def unpack(self) -> Batch:
        """The batch, as views of the buffer."""
        flat = torch.as_tensor(self.pixels)
        images, start = [], 0
        for h, w in self.sizes:
            images.append(flat[start : start + h * w * 3].view(h, w, 3))
            start += h * w * 3
        if images and len(set(self.sizes)) == 1:
            together = flat.view(len(images), *images[0].shape)
            return Batch(self.number, together, self.positions, self.skipped)
        return Batch(self.number, images, self.positions, self.skipped)


def images_of(images: list[Tensor]) -> Tensor | list[Tensor]:
    """One tensor if all have the same size, else the list."""
    return torch.stack(images) if len({image.shape for image in images}) == 1 else images
