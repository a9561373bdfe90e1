"""Some of the images of a source: those with certain names, or so many of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.images.arrays import ArrayImages
from ganfast.metrics.images.batch import BatchStream
from ganfast.metrics.images.encoded import EncodedFiles
from ganfast.metrics.images.reader import FileImages
from ganfast.metrics.images.source import ImageSource, fingerprint
from ganfast.metrics.images.stream import StreamImages


def by_name(
    files: EncodedFiles, include: Sequence[str], exclude: Sequence[str], what: str
) -> EncodedFiles:
    """The files whose names match one of ``include``, if there are any of these, and none of
    ``exclude``; InputError if that leaves nothing of something."""
    if not files.names or not (include or exclude):
        return files
    positions = [
        position
        for position, name in enumerate(files.names)
        if (not include or matches(name, include)) and not matches(name, exclude)
    ]
    if not positions:
        options = {"include": include, "exclude": exclude}
        given = [f"{name} {' '.join(map(repr, words))}" for name, words in options.items() if words]
        raise InputError(
            f"{what}: {' with '.join(given)} leaves none of {len(files.names):,} images, such as "
            f"{files.names[0]!r}; give patterns that match some"
        )
    return ChosenFiles(files, positions)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether ``name`` is one that a shell's patterns say. A pattern without a slash is about the
    last part of it; in others ``*`` stands for slashes too."""
    last = name.rpartition("/")[2]
    return any(fnmatchcase(name if "/" in pattern else last, pattern) for pattern in patterns)


def some_of(source: ImageSource, num: int, seed: int | None, what: str) -> ImageSource:
    """``num`` images of ``source``: the first ones, or with a ``seed`` drawn at random, in the
    order in which they stand in it.

    Raises:
        InputError: there are fewer (of a stream: once it has ended), or ``source`` can't be drawn
            from.
    """
    if isinstance(source, StreamImages):
        if seed is not None:
            raise InputError(
                f"shuffle_seed: got {seed}, and {what} is an iterable, which is read in its own "
                "order; leave it out"
            )
        return FirstOfStream(source, num)
    if source.count is None or num > source.count:
        raise InputError(f"num: got {num}, and {what} has {source.count} images; give at most that")
    positions: Sequence[int] = range(num)
    if seed is not None:
        positions = sorted(random.Random(seed).sample(range(source.count), num))
    if isinstance(source, FileImages):
        files = ChosenFiles(source._files, positions)
        return FileImages(files, source._decoder, source._on_error, source.name, what)
    if isinstance(source, ArrayImages):
        return ChosenRows(source, positions, what)
    raise InputError(f"num: can't choose from a {type(source).__name__}; give it fewer images")


class ChosenFiles(EncodedFiles):
    """Those of ``files`` at ``positions``, which ascend, so that a compressed archive is read from
    front to end as ever."""

    def __init__(self, files: EncodedFiles, positions: Sequence[int]) -> None:
        self._files, self._positions = files, positions
        self.path, self.ignored = files.path, files.ignored
        self.names = [files.names[position] for position in positions]
        self.sizes = [files.sizes[position] for position in positions]

    def full_name(self, position: int) -> str:
        return self._files.full_name(self._positions[position])

    def has(self, name: str) -> bool:
        return self._files.has(name)

    def read(self, position: int) -> bytes:
        return self._files.read(self._positions[position])

    def close(self) -> None:
        self._files.close()


class ChosenRows(ArrayImages):
    """The images of an array at ``positions``, which ascend."""

    def __init__(self, source: ArrayImages, positions: Sequence[int], what: str) -> None:
        super().__init__(_Rows(source._rows, positions), source.name, what, source.files)
        self.fingerprint = fingerprint(source.fingerprint, map(str, positions))


class _Rows:
    def __init__(self, rows: Any, positions: Sequence[int]) -> None:
        self._rows, self._positions = rows, positions
        self.shape, self.dtype = (len(positions), *rows.shape[1:]), rows.dtype

    def __getitem__(self, rows: slice) -> Any:
        chosen = self._positions[rows]
        if isinstance(chosen, range):
            return self._rows[chosen.start : chosen.stop]
        if isinstance(self._rows, (Tensor, np.ndarray)):
            return self._rows[list(chosen)]
        return np.concatenate([self._rows[at : at + 1] for at in chosen])

    def close(self) -> None:
        if hasattr(self._rows, "close"):
            self._rows.close()


class FirstOfStream(StreamImages):
    """The first ``num`` images of ``stream``, which is read no further."""

    def __init__(self, stream: StreamImages, num: int) -> None:
        vars(self).update(vars(stream))
        self.count = num

    def _batches(self, size: int, workers: int, first: int, step: int) -> BatchStream:
        if getattr(self, "sharded", False):
            raise InputError(
                f"num: got {self.count}, and each process has a share of {self.name} of its own; "
                "leave num out, or give all processes the same images"
            )
        return super()._batches(size, workers, first, step)

    def _images(self, *items: Any) -> Iterator[Tensor]:
        assert self.count is not None
        seen = 0
        for image in itertools.islice(super()._images(*items), self.count):
            seen += 1
            yield image
        if 0 < seen < self.count:
            raise InputError(
                f"num: got {self.count}, and {self.name} gave {seen} images; give at most that"
            )
