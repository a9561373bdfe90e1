"""Images by their paths: a list of them, in Python or in a file, or a shell's pattern."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Sequence
from typing import Any

from ganfast.errors import InputError, one_line
from ganfast.metrics.images.encoded import EncodedFiles
from ganfast.metrics.images.folder import FolderFiles, read_file
from ganfast.metrics.images.formats import ending, is_image_name, is_left_out

COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path")
"""What the column of paths in a .csv is called, upper or lower case."""

CONTAINERS = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".npz"))


class ListedFiles(EncodedFiles):
    """The files at ``paths``, in this order, whatever their names end in; of a folder, all images
    that it holds. A file that isn't there counts as one that can't be read."""

    path = ""

    def __init__(self, paths: Sequence[str], what: str) -> None:
        self.names: list[str] = []
        self.sizes: list[int] = []
        for path in paths:
            if os.path.isdir(path):
                found = FolderFiles(path, what)
                self.names += [os.path.join(path, name) for name in found.names]
                self.sizes += found.sizes
            elif ending(path) in CONTAINERS:
                raise InputError(
                    f"{what}: got a list with {path!r}, which holds many images; give it by "
                    "itself, or list the images"
                )
            else:
                self.names.append(path)
                self.sizes.append(_size(path))
        self.ignored: dict[str, int] = {}

    def full_name(self, position: int) -> str:
        return self.names[position]

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
    """Whether ``path`` is a pattern rather than the name of something."""
    return glob.has_magic(path) and not os.path.lexists(path)


def matching_files(pattern: str, what: str) -> ListedFiles:
    """What a shell would put for ``pattern``, sorted; ``**`` is any number of folders."""
    found = sorted(glob.glob(pattern, recursive=True))
    images = [
        path
        for path in found
        if not is_left_out(os.path.basename(path)) and (os.path.isdir(path) or is_image_name(path))
    ]
    if "**" in pattern:  # which names the folders as well as what is in them
        images = [path for path in images if not os.path.isdir(path)]
    if not images:
        others = f", but {len(found)} other files" if found else ""
        raise InputError(
            f"{what}: no image matches {pattern!r}{others}; give a pattern that matches some"
        )
    return ListedFiles(images, what)


def files_of_list(path: str, what: str) -> ListedFiles:
    """The files that a .txt (one path a line) or a .csv names. A relative path starts at the
    folder of the list, or, where nothing is there, at the current one."""
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise InputError(f"{what}: cannot read {path!r}: {one_line(error)}") from None
    lines = text.splitlines()
    if ending(path) == ".csv":
        lines = _column(lines, path, what)
    listed = [line.strip() for line in lines if line.strip()]
    if not listed:
        raise InputError(f"{what}: the list {path!r} names no files; write a path on each line")
    folder = os.path.dirname(path)
    return ListedFiles([_placed(one, folder) for one in listed], what)


def _column(lines: list[str], path: str, what: str) -> list[str]:
    try:
        rows = [row for row in csv.reader(lines) if row]
    except csv.Error as error:
        raise InputError(f"{what}: cannot read {path!r}: {one_line(error)}") from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((header.index(name) for name in COLUMNS if name in header), None)
    if column is not None:
        return [row[column] for row in rows[1:] if len(row) > column]
    column = next((i for i, cell in enumerate(header) if is_image_name(cell)), None)
    if column is None:
        raise InputError(
            f"{what}: {path!r} has no column of paths; call it one of {', '.join(COLUMNS)}"
        )
    return [row[column] for row in rows if len(row) > column]


def _placed(path: str, folder: str) -> str:
    path = os.path.expanduser(path)
    beside = os.path.join(folder, path)
    return path if os.path.lexists(path) and not os.path.lexists(beside) else beside


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # reading it will say so
        return 0
