"""Files that hold one encoded image each, wherever they lie."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ganfast._remote import is_url, shown
from ganfast.metrics.images.formats import is_image_name, is_left_out

T = TypeVar("T")


class EncodedFiles(ABC):
    """A list of encoded images, which can be pickled and be used in several processes at once.

    ``names`` are relative to ``path`` with forward slashes, ``sizes`` are in bytes, ``ignored``
    counts other files by ending.
    """

    path: str
    names: list[str]
    sizes: list[int]
    ignored: dict[str, int]

    def full_name(self, position: int) -> str:
        return f"{shown(self.path).rstrip('/')}/{self.names[position]}"

    def places(self) -> Iterator[str]:
        """Where each image really lies, links followed: for a member, in the archive."""
        if is_url(self.path):
            yield from (f"{self.path.rstrip('/')}/{name}" for name in self.names)
            return
        folders: dict[str, str] = {}
        in_archive = os.path.isfile(self.path)
        for name in self.names:
            if is_url(name):
                yield name
                continue
            folder, last = ("", name) if in_archive else os.path.split(name)
            if folder not in folders:
                folders[folder] = os.path.realpath(os.path.join(self.path, folder))
            place = os.path.join(folders[folder], last)
            yield os.path.realpath(place) if not in_archive and os.path.islink(place) else place

    def has(self, name: str) -> bool:
        """Whether a file of a training run (RUN_FILES) has this name in ``names``' form."""
        return os.path.exists(os.path.join(self.path, name))

    @abstractmethod
    def read(self, position: int) -> bytes:
        """The bytes of one file. Raises anything that a damaged file can make a reader raise."""

    def close(self) -> None:  # noqa: B027 (not all have something to close)
        """Give back what reading opened in this process; reading again opens it again."""


class PerProcess(Generic[T]):
    """What ``make`` opens, once in each process: two that share an open file would also share, and
    move, its position."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._opened: T | None = None
        self._process = 0

    def get(self) -> T:
        if self._opened is None or self._process != os.getpid():
            self._opened, self._process = self._make(), os.getpid()
        return self._opened

    def close(self) -> None:
        opened: Any = self._opened
        if opened is not None and self._process == os.getpid():
            opened.close()
            self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_opened": None, "_process": 0}


def is_archived_image(name: str) -> bool:
    """Whether an archive's member is an image of the user's."""
    return is_image_name(name) and not is_archived_rest(name)


def is_archived_rest(name: str) -> bool:
    return any(is_left_out(part) for part in name.split("/") if part not in (".", ".."))
