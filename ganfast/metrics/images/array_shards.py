"""Images in several .npz or .npy files, as samplers write them: ADM, EDM, several processes."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ganfast._remote import Location, name_of, shown
from ganfast.errors import InputError
from ganfast.metrics.images.arrays import FileRows, npy_rows, npz_rows


class ArrayShards:
    """The rows of several files as those of one array, which is never in memory; only the file
    being read is open.

    Raises:
        InputError: one that can't be read, or whose images differ in shape or dtype from the first
            one's.
    """

    def __init__(self, paths: Sequence[str], what: str) -> None:
        self._parts = [_rows_at(path, what) for path in paths]
        first = self._parts[0]
        for path, part in zip(paths, self._parts, strict=True):
            kinds = [(tuple(one.shape[1:]), str(one.dtype)) for one in (part, first)]
            if kinds[0] != kinds[1]:
                described = [f"images of shape {shape}, {dtype}" for shape, dtype in kinds]
                raise InputError(
                    f"{what}: {shown(path)!r} has {described[0]}, and {shown(paths[0])!r} "
                    f"{described[1]}; give shards that agree"
                )
        self._ends = list(itertools.accumulate(part.shape[0] for part in self._parts))
        self._last: Any = None
        self.shape, self.dtype = (self._ends[-1], *first.shape[1:]), first.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        found = []
        number = bisect.bisect_right(self._ends, start)
        while start < stop:
            part, end = self._parts[number], self._ends[number]
            if self._last is not part:
                self.close()
                self._last = part
            offset = end - part.shape[0]
            found.append(part[start - offset : min(stop, end) - offset])
            start, number = end, number + 1
        if not found:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return np.concatenate(found)

    def close(self) -> None:
        if hasattr(self._last, "close"):
            self._last.close()
        self._last = None


def _rows_at(path: str, what: str) -> Any:
    if name_of(path).lower().endswith(".npz"):
        return npz_rows(Location(path), what)
    return npy_rows(Location(path), what)


def holds_many(path: str) -> bool:
    """Whether the .npy at ``path`` is an array of images, by its 4 axes. One that can't be read is
    left to whoever reads it."""
    try:
        return len(FileRows(Location(path)).shape) == 4
    except (OSError, ValueError, EOFError):
        return False
