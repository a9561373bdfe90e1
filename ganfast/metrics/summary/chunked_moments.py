"""The moments of one side's images, whole or of each of the chunks that these are divided into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ganfast.metrics.summary.late_checks import without_waiting
from ganfast.metrics.summary.sample import position_hash
from ganfast.metrics.summary.streaming import Moments

PURPOSE = 1
"""Of the hash that gives an image its chunk."""


class ChunkOf(Protocol):
    def __getitem__(self, positions: np.ndarray, /) -> np.ndarray: ...


class ChunkedMoments:
    """Of ``chunks`` parts, 0 for no division; the arguments are those of Summary."""

    def __init__(
        self,
        dim: int,
        chunks: int,
        seed: int,
        chunk_of: ChunkOf | None,
        device: torch.device | str | None,
    ) -> None:
        self.dim, self.chunks = dim, chunks
        self._seed, self._chunk_of, self._device = seed, chunk_of, device
        self.parts = [self._none() for _ in range(max(chunks, 1))]
        """Of each chunk; of all images together where there are none."""

    def add(self, features: Tensor, where: np.ndarray, late: bool) -> None:
        """Take in ``features`` (n, dim) of the images at ``where``; ``late``: unchecked."""
        if self.chunks < 2 and self._chunk_of is None:
            self._take(0, features, late)
            return
        if self._chunk_of is None:
            chunk = position_hash(where, self._seed, PURPOSE) % np.uint64(self.chunks)
        else:
            chunk = self._chunk_of[where]
        order = torch.from_numpy(np.argsort(chunk, kind="stable"))
        there, sizes = np.unique(chunk, return_counts=True)
        self._make(max(there.tolist(), default=-1) + 1)
        rows = features[without_waiting(order, features.device)]
        for i, own in zip(there.tolist(), rows.split(sizes.tolist()), strict=True):
            self._take(i, own, late)

    def renumber(self, numbers: Sequence[int | None]) -> None:
        """Let chunk i be the present number ``numbers[i]``; None: one that no image was of."""
        self._make(max((i + 1 for i in numbers if i is not None), default=0))
        self.parts = [self._none() if i is None else self.parts[i] for i in numbers]
        self.chunks = len(numbers)

    @property
    def count(self) -> int:
        """The number of images so far."""
        return sum(part.count for part in self.parts)

    def whole(self) -> Moments:
        """Of all images; where there are chunks, their merger in a fixed order, made anew."""
        if len(self.parts) == 1:
            return self.parts[0]
        whole = Moments(self.dim)
        for part in self.parts:
            whole.merge(part)
        return whole

    def _none(self) -> Moments:
        return Moments(self.dim, device=self._device)

    def _make(self, count: int) -> None:
        """Have so many chunks, if ``chunk_of`` has shown that there are more than were known."""
        if count > self.chunks and self._chunk_of is not None:
            self.parts += [self._none() for _ in range(len(self.parts), count)]
            self.chunks = count

    def _take(self, i: int, features: Tensor, late: bool) -> None:
        part = self.parts[i]
        (part.update_unchecked if late else part.update)(features)
