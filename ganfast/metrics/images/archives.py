"""Images in a .zip or .tar, compressed or not, read where they lie."""

from __future__ import annotations

import importlib
import posixpath
import tarfile
import zipfile
import zlib
from functools import partial
from typing import Any, BinaryIO

from ganfast._remote import Location, name_of, shown
from ganfast.errors import InputError
from ganfast.metrics.images.encoded import (
    EncodedFiles,
    PerProcess,
    is_archived_image,
    is_archived_rest,
)
from ganfast.metrics.images.formats import count_endings, is_of_a_run

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it
    LZMAError = OSError  # type: ignore[misc, assignment]

OPENERS = {
    ".tar": "io",
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.xz": "lzma",
    ".txz": "lzma",
}
"""Which module opens what."""

DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error, LZMAError)

BLOCK = 512
"""Of which a tar consists."""


class ZipFiles(EncodedFiles):
    """Every image in the archive, sorted by name. Of several members of one name the last counts,
    as for a program that unpacks them."""

    def __init__(self, path: str, what: str) -> None:
        self.path, place = path, Location(path)
        try:
            with _zip(place) as archive:
                members = {m.filename: m for m in archive.infolist() if not m.is_dir()}
        except (zipfile.BadZipFile, OSError, NotImplementedError, EOFError) as error:
            raise _unreadable(what, path, error) from None
        self.names = sorted(name for name in members if is_archived_image(name))
        self.sizes = [members[name].file_size for name in self.names]
        self.ignored = count_endings(
            name for name in members if not is_archived_image(name) and not is_archived_rest(name)
        )
        self._of_runs = frozenset(filter(is_of_a_run, members))
        if any(members[name].flag_bits & 1 for name in self.names):
            raise InputError(
                f"{what}: {shown(path)!r} is encrypted, which is not supported; unpack it and give "
                "the folder"
            )
        self._archive = PerProcess(partial(_zip, place))

    def has(self, name: str) -> bool:
        return name in self._of_runs

    def read(self, position: int) -> bytes:
        return self._archive.get().read(self.names[position])

    def close(self) -> None:
        self._archive.close()


class TarFiles(EncodedFiles):
    """Every image in the archive: sorted by name in a .tar, where any order costs the same, and in
    the archive's own order in a compressed one.

    Opening it reads the headers, and for that decompresses it once. Each process that reads a
    compressed one then goes through it once from front to end, and holds no more than one member:
    nothing is unpacked to disk. Of several members of one name the last counts.
    """

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        low = name_of(path).lower()
        kind = next(end for end in sorted(OPENERS, key=len)[::-1] if low.endswith(end))
        opener = partial(_open, OPENERS[kind], Location(path))
        try:
            with opener() as file:
                spans, others = _index(file)
        except (*DAMAGED, ImportError) as error:
            raise _unreadable(what, path, error) from None
        if kind == ".tar":
            self.names = sorted(spans)
        else:
            # A link takes the place of what it leads to, so that reading never goes back.
            self.names = sorted(spans, key=lambda name: (*spans[name], name))
        self._spans = [spans[name] for name in self.names]
        self.sizes = [size for _, size in self._spans]
        self.ignored = count_endings(others)
        self._of_runs = frozenset(filter(is_of_a_run, others))
        self._file: PerProcess[BinaryIO] = PerProcess(opener)

    def has(self, name: str) -> bool:
        return name in self._of_runs

    def read(self, position: int) -> bytes:
        offset, size = self._spans[position]
        if offset < 0:
            raise OSError("a link to something that is not in the archive")
        file = self._file.get()
        file.seek(offset)
        data = file.read(size)
        if len(data) < size:
            raise OSError(f"the archive ends after {len(data)} of its {size} bytes")
        return data

    def close(self) -> None:
        self._file.close()


def _zip(place: Location) -> zipfile.ZipFile:
    return zipfile.ZipFile(place.source())


def _open(module: str, place: Location) -> Any:
    if module == "io":
        return place.open()
    return importlib.import_module(module).open(place.source(), "rb")


def _unreadable(what: str, path: str, error: Exception) -> InputError:
    return InputError(f"{what}: cannot read the archive {shown(path)!r}: {shown(str(error))}")


def _index(file: BinaryIO) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Where the images' bytes lie (offset, size), by name, and the names of other files."""
    regular: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # or a million headers would be kept
            name = posixpath.normpath(member.name)
            if member.isreg() and not member.issparse():
                regular[name] = member.offset_data, member.size
                links.pop(name, None)
            elif member.islnk() or member.issym():
                here = posixpath.dirname(name) if member.issym() else ""
                links[name] = posixpath.normpath(posixpath.join(here, member.linkname))
                regular.pop(name, None)
        # tarfile takes a damaged header for the end.
        file.seek(archive.offset)
        if file.read(BLOCK).strip(b"\0"):
            raise tarfile.ReadError(f"the header at byte {archive.offset} is damaged")
    spans = {name: span for name, span in regular.items() if is_archived_image(name)}
    for name in filter(is_archived_image, links):
        spans[name] = _target(name, regular, links)
    others = [n for n in regular if not is_archived_image(n) and not is_archived_rest(n)]
    return spans, others


def _target(
    name: str, regular: dict[str, tuple[int, int]], links: dict[str, str]
) -> tuple[int, int]:
    for _ in range(40):  # as many links as a kernel follows
        if name in regular:
            return regular[name]
        if name not in links:
            break
        name = links[name]
    return -1, 0
