"""Images by their paths: a list of them, in Python or in a file, or a shell's pattern."""

from __future__ import annotations

import bisect
import csv
import glob
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ganfast import _checks, _remote
from ganfast._remote import Location, is_url, name_of, shown
from ganfast.errors import InputError, one_line
from ganfast.metrics.images.archives import OPENERS, TarFiles, ZipFiles
from ganfast.metrics.images.array_shards import ArrayShards, holds_many
from ganfast.metrics.images.arrays import ArrayImages
from ganfast.metrics.images.encoded import EncodedFiles
from ganfast.metrics.images.folder import FolderFiles, RemoteFolder, read_file
from ganfast.metrics.images.formats import (
    IMAGE_ENDINGS,
    ending,
    is_image_name,
    is_left_out,
    is_the_systems,
)

COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path")
"""What the column of paths in a .csv is called, upper or lower case."""


def files_at(paths: Sequence[str], what: str) -> EncodedFiles | ArrayImages:
    """The images at ``paths``, in this order: files and folders, or nothing but archives, or
    nothing but arrays of images."""
    archives = list(filter(_is_archive, paths))
    arrays = _arrays(paths)
    for kind, shards in (("archives", archives), ("arrays", arrays)):
        if 0 < len(shards) < len(paths):
            raise InputError(
                f"{what}: got {shown(shards[0])!r} among images or folders; give {kind} by "
                "themselves"
            )
    if arrays:
        return ArrayImages(ArrayShards(paths, what), what, what, paths)
    if archives:
        return Shards([archive_at(path, what) for path in paths])
    return ListedFiles(paths, what)


def archive_at(path: str, what: str) -> EncodedFiles:
    """The images in a .zip or .tar."""
    return ZipFiles(path, what) if _ends(path, ".zip") else TarFiles(path, what)


def files_in_folder(path: str, what: str) -> EncodedFiles | ArrayImages:
    """Every image under ``path``; if there is none, those in the archives, or else in the arrays,
    that lie in it."""
    files = RemoteFolder(path, what) if is_url(path) else FolderFiles(path, what)
    if files.names and all(_ends(name, ".npy") for name in files.names):
        shards = _arrays([os.path.join(files.path, name) for name in files.names])
    elif files.names:
        return files
    else:
        top = files.top if isinstance(files, RemoteFolder) else sorted(os.listdir(path))
        inside = [os.path.join(files.path, name) for name in top if not is_left_out(name)]
        shards = list(filter(_is_archive, inside)) or _arrays(inside)
    return files_at(shards, what) if shards else files


def _is_archive(path: str) -> bool:
    return _ends(path, ".zip", *OPENERS) and (is_url(path) or not os.path.isdir(path))


def _arrays(paths: Sequence[str]) -> list[str]:
    """Those of ``paths`` that hold many images each: .npz, and .npy if the first of them does."""
    one = next((path for path in paths if _ends(path, ".npy")), None)
    kinds = (".npz",) if one is None or not holds_many(one) else (".npz", ".npy")
    found = [path for path in paths if _ends(path, *kinds)]
    return [path for path in found if is_url(path) or not os.path.isdir(path)]


def _ends(path: str, *endings: str) -> bool:
    """Whether a path's or URL's name ends in one of ``endings``, upper or lower case."""
    return name_of(path).lower().endswith(endings)


class Shards(EncodedFiles):
    """The images of several archives, one after another; only the one being read is open."""

    path = ""

    def __init__(self, parts: Sequence[EncodedFiles]) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(len(part.names) for part in parts))
        self._last: EncodedFiles | None = None
        # Without the query of a URL, which is another one each time that it is signed.
        self.names = [f"{shown(part.path)}/{name}" for part in parts for name in part.names]
        self.sizes = [size for part in parts for size in part.sizes]
        ignored = sum((Counter(part.ignored) for part in parts), Counter[str]())
        self.ignored = dict(ignored.most_common())

    def full_name(self, position: int) -> str:
        return self.names[position]

    def has(self, name: str) -> bool:
        return any(
            part.has(name.removeprefix(start))
            for start, part in ((f"{shown(part.path)}/", part) for part in self._parts)
            if name.startswith(start)
        )

    def read(self, position: int) -> bytes:
        number = bisect.bisect_right(self._ends, position)
        part = self._parts[number]
        if self._last not in (None, part):
            self.close()
        self._last = part
        return part.read(position - (self._ends[number] - len(part.names)))

    def close(self) -> None:
        if self._last is not None:
            self._last.close()


class ListedFiles(EncodedFiles):
    """The files at ``paths``, in this order, whatever their names end in; of a folder, all images
    that it holds. A file that isn't there counts as one that can't be read."""

    path = ""

    def __init__(self, paths: Sequence[str], what: str) -> None:
        self.names: list[str] = []
        self.sizes: list[int] = []
        for path in paths:
            if is_url(path):
                self.names.append(path)
                self.sizes.append(0)  # a request for each would cost more than it tells
            elif os.path.isdir(path):
                found = FolderFiles(path, what)
                self.names += [os.path.join(path, name) for name in found.names]
                self.sizes += found.sizes
            else:
                self.names.append(path)
                self.sizes.append(_size(path))
        self.ignored: dict[str, int] = {}

    def full_name(self, position: int) -> str:
        return shown(self.names[position])

    def read(self, position: int) -> bytes:
        return read_file(self.names[position])


def is_list_of_paths(source: Any) -> bool:
    """Whether ``source`` is a list or tuple of nothing but paths."""
    return (
        isinstance(source, (list, tuple))
        and bool(source)
        and all(isinstance(one, (str, os.PathLike)) for one in source)
    )


def is_pattern(path: str) -> bool:
    """Whether ``path`` is a pattern rather than the name of something. ``?`` begins the query of
    a URL, so that it stands for itself there."""
    if is_url(path):
        return bool(re.search(r"[*\[]", name_of(path)) or _RANGE.search(path))
    return bool(glob.has_magic(path) or _RANGE.search(path)) and not os.path.lexists(path)


_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
"""WebDataset's {00000..00009}."""


def _spelled_out(pattern: str) -> list[str]:
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = found.groups()
    numbers = range(int(first), int(last) + 1)
    starts = [f"{pattern[: found.start()]}{n:0{len(first)}}" for n in numbers]
    return [start + end for end in _spelled_out(pattern[found.end() :]) for start in starts]


_SLASHES = "/" if os.sep == "/" else r"[/\\]"


def _matching(pattern: str, what: str) -> list[str]:
    try:
        if re.search(r"[*\[]", name_of(pattern)):
            return _remote.matching(pattern)
        return [pattern] if _remote.exists(pattern) else []
    except OSError as error:
        raise InputError(f"{what}: cannot list {shown(pattern)!r}: {one_line(error)}") from None


def matching_files(pattern: str, what: str) -> EncodedFiles | ArrayImages:
    """What a shell would put for ``pattern``, sorted; ``**`` is any number of folders, and
    {00..12} all of these numbers, each of which must be there."""
    found: list[str] = []
    named: set[str] = set()  # what the user names is meant
    for one in _spelled_out(pattern):
        named.update(re.split(_SLASHES, one))
        some = _matching(one, what) if is_url(one) else glob.glob(one, recursive=True)
        if not some and one != pattern:
            raise InputError(
                f"{what}: there is no {shown(one)!r}, of {shown(pattern)!r}; give a range that is"
            )
        found += some
    found = sorted(set(found))
    ends = (*IMAGE_ENDINGS, ".npz", ".zip", *OPENERS)
    # A file system's own * and ** pass over what is hidden.
    left_out = is_left_out if is_url(pattern) else is_the_systems
    images = [
        path
        for path in found
        if not is_left_out(os.path.basename(path))
        and not any(map(left_out, set(re.split(_SLASHES, path)) - named))
        and (os.path.isdir(path) or name_of(path).lower().endswith(ends))
    ]
    if "**" in pattern:  # which names the folders as well as what is in them
        images = [path for path in images if not os.path.isdir(path)]
    # What lies beside images may be statistics.
    images = [path for path in images if not _ends(path, ".npz")] or images
    if not images:
        others = f", but {len(found)} other files" if found else ""
        raise InputError(
            f"{what}: no image matches {shown(pattern)!r}{others}; give a pattern that matches some"
        )
    return files_at(images, what)


def files_of_list(path: str, what: str) -> EncodedFiles | ArrayImages:
    """The files that a .txt (one path a line) or a .csv names. A relative path starts at the
    folder of the list, or, where nothing is there, at the current one."""
    try:
        with Location(path).open() as file:
            text = file.read().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise InputError(f"{what}: cannot read {shown(path)!r}: {one_line(error)}") from None
    name = name_of(path)
    lines = _column(text, name, what) if ending(name) == ".csv" else text.split("\n")
    listed = [line.strip() for line in lines if line.strip()]
    if not listed:
        raise InputError(
            f"{what}: the list {shown(path)!r} names no files; write a path on each line"
        )
    folder = os.path.dirname(name)
    return files_at([_placed(one, folder) for one in listed], what)


def _column(text: str, path: str, what: str) -> list[str]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise InputError(f"{what}: cannot read {shown(path)!r}: {one_line(error)}") from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((header.index(name) for name in COLUMNS if name in header), None)
    if column is not None:
        return [row[column] for row in rows[1:] if len(row) > column]
    column = next((i for i, cell in enumerate(header) if is_image_name(cell)), None)
    if column is None:
        raise InputError(
            f"{what}: {shown(path)!r} has no column of paths; call it one of {', '.join(COLUMNS)}"
        )
    return [row[column] for row in rows if len(row) > column]


def _placed(path: str, folder: str) -> str:
    if is_url(path):
        return _checks.place("path", path)
    if is_url(folder):
        return path if path.startswith("/") else f"{folder}/{path}"
    path = os.path.expanduser(path)
    beside = os.path.join(folder, path)
    return path if os.path.lexists(path) and not os.path.lexists(beside) else beside


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # reading it will say so
        return 0
