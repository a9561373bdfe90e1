"""The one shape that all sources of images have."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.images.batch import BatchStream


class ImageSource(ABC):
    """Images in a fixed order, as uint8 RGB batches; ``open_images`` makes one.

    ``name``: as the user named it. ``count``: images in all, None where only iterating tells.
    ``fingerprint``: sha256 hex of what is known without reading the images: names and sizes in
    bytes of files, shape and dtype of arrays; a run that resumes compares it. ``resumable``:
    whether batches can start anywhere. ``ignored``: files that are no images by their names,
    counted by ending.
    """

    name: str
    count: int | None
    fingerprint: str
    resumable: bool
    ignored: dict[str, int]
    decoders: Mapping[str, str] = MappingProxyType({})
    """What decodes plain files in Pillow's place: format -> package and version."""
    stage = "decode"
    """What the time that batches take is called among an evaluation's stages."""

    def batches(
        self,
        batch_size: int,
        *,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
    ) -> BatchStream:
        """The batches b >= ``start`` with b % ``world_size`` == ``rank``, in ascending order.

        Together the ranks yield each image once. With ``workers`` > 0 encoded files are decoded in
        that many processes, up to two batches ahead in each, so that memory doesn't grow with the
        number of images (one ahead, and in fewer processes, where images are so large that this
        would take more than 2 GiB); arrays and iterables are read in this process whatever
        ``workers`` is. An iterable is iterated by every rank, which keeps its own batches of it.
        """
        batch_size = _checks.integer("batch_size", batch_size, least=1)
        workers = _checks.integer("workers", workers, least=0)
        world_size = _checks.integer("world_size", world_size, least=1)
        rank = _checks.integer("rank", rank, least=0)
        start = _checks.integer("start", start, least=0)
        if rank >= world_size:
            raise InputError(f"rank: got {rank}; give one below world_size, {world_size}")
        if start and not self.resumable:
            raise InputError(
                f"start: got {start}, and {self.name} is an iterable, which can't start in the "
                "middle; give 0"
            )
        first = start + (rank - start) % world_size
        return self._batches(batch_size, workers, first, world_size)

    def places(self) -> Iterator[str]:
        """Where each of its files really lies; nothing for what is in memory."""
        return iter(())

    @abstractmethod
    def _batches(self, size: int, workers: int, first: int, step: int) -> BatchStream:
        """The batches first, first + step, ..."""

    def _numbers(self, size: int, first: int, step: int) -> range:
        """The numbers of these batches, where the count is known."""
        assert self.count is not None
        return range(first, -(-self.count // size), step)


def fingerprint(kind: str, lines: Iterable[str]) -> str:
    """sha256 hex of ``kind`` and ``lines``, which hold no NUL."""
    digest = hashlib.sha256(kind.encode())
    for line in lines:
        digest.update(b"\0" + line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
