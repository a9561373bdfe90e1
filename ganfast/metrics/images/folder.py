"""Images in a folder and all that is under it."""

from __future__ import annotations

import errno
import os
import stat
from urllib.parse import unquote

from ganfast import _remote
from ganfast._remote import is_url, shown
from ganfast.errors import InputError, one_line
from ganfast.metrics.images.encoded import EncodedFiles, is_archived_rest
from ganfast.metrics.images.formats import (
    count_endings,
    is_image_name,
    is_left_out,
    is_of_a_run,
)


class FolderFiles(EncodedFiles):
    """Every image under ``path``, sorted by its relative name, the same on every machine.

    Linked files are read like others, and one whose target is gone counts as unreadable. A folder
    is read once: one that links lead to again is passed over, so that cycles end.
    """

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        sizes: dict[str, int] = {}
        ignored: list[str] = []
        # Real folders come before linked ones, so that a folder reached by both has its own name.
        seen = {os.path.realpath(path)}
        folders, links = [""], list[str]()
        while folders or links:
            if not folders:
                links.sort(reverse=True)
                link = links.pop()
                target = os.path.realpath(os.path.join(path, link))
                if target in seen:
                    continue
                seen.add(target)
                folders.append(link)
            here = folders.pop()
            for entry in _entries(os.path.join(path, here), what):
                name = f"{here}/{entry.name}" if here else entry.name
                if is_left_out(entry.name):
                    continue
                if _is_folder(entry):
                    if entry.is_symlink():
                        links.append(name)
                    else:
                        target = os.path.realpath(entry.path)
                        if target not in seen:
                            seen.add(target)
                            folders.append(name)
                elif is_image_name(name):
                    sizes[name] = _size(entry)
                else:
                    ignored.append(name)
        self.names = sorted(sizes)
        self.sizes = [sizes[name] for name in self.names]
        self.ignored = count_endings(ignored)

    def read(self, position: int) -> bytes:
        return read_file(os.path.join(self.path, self.names[position]))


class RemoteFolder(EncodedFiles):
    """Every image under a URL whose server can list what is there, sorted by its relative name."""

    def __init__(self, url: str, what: str) -> None:
        self.path = url.rstrip("/")
        try:
            sizes = _remote.listing(url)
        except OSError as error:
            raise InputError(f"{what}: cannot list {shown(url)!r}: {one_line(error)}") from None
        names = sorted(sizes)
        # A web server's names are quoted: %40eaDir.
        kept = [name for name in names if not is_archived_rest(unquote(name))]
        self.top = [name for name in kept if "/" not in name]
        """The files in the folder itself."""
        self.names = [name for name in kept if is_image_name(name)]
        self.sizes = [sizes[name] for name in self.names]
        others = [name for name in kept if not is_image_name(name)]
        self.ignored = count_endings(others)
        self._of_runs = frozenset(filter(is_of_a_run, others))

    def has(self, name: str) -> bool:
        return name in self._of_runs

    def read(self, position: int) -> bytes:
        return _remote.read(f"{self.path}/{self.names[position]}")


def read_file(path: str) -> bytes:
    """All bytes of a regular file: opening a pipe would wait for its writer."""
    if is_url(path):
        return _remote.read(path)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    with open(path, "rb") as file:
        return file.read()


def _entries(path: str, what: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(f"{what}: cannot list the folder {path!r}: {error.strerror}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a ring of links
        return False


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a link to nowhere: reading it will say so
        return 0
