"""Files at a URL, through fsspec: s3://, gs://, hf://, http(s)://, memory:// and others it knows.

What has a size and can be read in parts is read in blocks, of which a few are held; anything else
is copied to a temporary file first, which is removed with the Location that asked for it. Whether
and how often a request is tried again is fsspec's matter. fsspec is imported at the first URL.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import posixpath
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ganfast.errors import InputError, one_line

T = TypeVar("T")

BLOCK = 4 << 20
"""Bytes that one request asks for."""
BLOCKS = 8
"""Of them held for each file that is open."""
SILENCE = 60.0
"""Seconds without a byte after which a server is given up (http; of others fsspec decides)."""

_URL = re.compile(r"(?:[A-Za-z][\w+.-]*::)*[A-Za-z][\w+.-]+://")
_SECRETS = re.compile(r"([A-Za-z][\w+.-]+://)(?:[^/\s'\"]*@)?([^\s'\"?]*)(\?[^\s'\"]*)?")


class RemoteError(OSError):
    """A server, or the way to it, failed: no fault of the file that was asked for."""


def is_url(path: Any) -> bool:
    """Whether ``path`` is a URL, of this machine's files or others."""
    return isinstance(path, str) and _URL.match(path) is not None


def shown(text: str) -> str:
    """``text`` with each URL in it as it may be printed: without user, password and query."""
    return _SECRETS.sub(r"\1\2", text)


def name_of(path: str) -> str:
    """The part of a path or URL whose ending tells what it is: of http without the query."""
    return re.split(r"[?#]", path, maxsplit=1)[0] if _URL.match(path) and "http" in path else path


class Location:
    """A file on this machine or at a URL, which can be opened more than once and in any process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._copy: str | None = None

    def source(self) -> Any:
        """What zipfile, tarfile, np.load and their like take: a path, or at a URL a file that can
        seek. Raises OSError, RemoteError among them, and InputError if a package is missing."""
        if not is_url(self.path):
            return self.path
        if self._copy is None:
            file = _asked(self.path, _seekable, self.path)
            if file is not None:
                return io.BufferedReader(_Reader(file, self.path))
            self._copy = copy_of(self.path)
            weakref.finalize(self, _remove, self._copy, os.getpid())
        return self._copy

    def open(self) -> Any:
        """The file itself, open for reading."""
        source = self.source()
        return open(source, "rb") if isinstance(source, str) else source


def read(url: str) -> bytes:
    """All bytes of a small file."""
    fs, path = _file_system(url)
    return _asked(url, fs.cat_file, path)


def listing(url: str) -> dict[str, int]:
    """The files under ``url``, by name relative to it -> size in bytes, 0 where that is not known.
    Of a URL that is a file itself: its size under an empty name."""
    fs, path = _file_system(url)
    root = path.rstrip("/")
    found = _asked(url, fs.find, path, detail=True)
    if not found and not _asked(url, fs.exists, path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shown(url))
    names = {name.removeprefix(root).lstrip("/"): info for name, info in found.items()}
    # A web server's index has links that sort it.
    return {
        name: info.get("size") or 0
        for name, info in names.items()
        if not ("http" in url and name.startswith("?"))
    }


def matching(pattern: str) -> list[str]:
    """The URLs that a pattern with ``*``, ``**`` or ``[...]`` is of."""
    fs, path = _file_system(pattern)
    start = pattern.removesuffix(path)
    return sorted(start + name for name in _asked(pattern, fs.glob, path))


def exists(url: str) -> bool:
    fs, path = _file_system(url)
    return bool(_asked(url, fs.exists, path))


@contextlib.contextmanager
def fetched(url: str) -> Iterator[str]:
    """The path of a copy on this machine, for as long as the ``with`` block."""
    path = copy_of(url)
    try:
        yield path
    finally:
        os.remove(path)


def copy_of(url: str) -> str:
    """The path of a new temporary file with what is at ``url``, or nothing."""
    fs, path = _file_system(url)
    descriptor, copy = tempfile.mkstemp("-" + posixpath.basename(name_of(url))[-64:], "ganfast-")
    try:
        with open(descriptor, "wb") as file:
            try:
                _asked(url, fs.get_file, path, file)
            except (TypeError, AttributeError):  # one that can't fill an open file
                file.seek(0)
                file.truncate()
                with _asked(url, fs.open, path, "rb") as far:
                    _asked(url, shutil.copyfileobj, far, file, BLOCK)
    except BaseException as error:
        os.remove(copy)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise InputError(
                f"no room in {tempfile.gettempdir()!r} for a copy of {shown(url)!r}; make room, or "
                "set TMPDIR to a folder that has it"
            ) from None
        raise
    return copy


def _file_system(url: str) -> tuple[Any, str]:
    try:
        core = importlib.import_module("fsspec.core")
        options: dict[str, Any] = {}
        if re.match(r"https?://", url):
            timeout = importlib.import_module("aiohttp").ClientTimeout
            silence = timeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
            options = {"client_kwargs": {"timeout": silence}}
        fs, path = core.url_to_fs(url, **options)
    except ImportError as error:
        raise InputError(
            f"cannot open {shown(url)!r}: {one_line(error)}; pip install 'ganfast[remote]' and, "
            "for a cloud's own storage, what fsspec has for it (s3fs, gcsfs, huggingface_hub)"
        ) from None
    except ValueError as error:  # a protocol that there is not
        raise InputError(f"cannot open {shown(url)!r}: {shown(one_line(error))}") from None
    return fs, path


def _asked(url: str, ask: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What ``ask`` answers. Its exceptions are as many as there are servers: they become
    FileNotFoundError, PermissionError or RemoteError, without what is secret in the URL."""
    try:
        return ask(*arguments, **named)
    except (TypeError, AttributeError, InputError, RemoteError):
        raise
    except Exception as error:
        status = getattr(error, "status", None)
        if isinstance(error, FileNotFoundError) or status in (404, 410):
            code = errno.ENOENT
        elif isinstance(error, PermissionError) or status in (401, 403):
            code = errno.EACCES
        elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        else:
            reason = shown(one_line(error))
            why = reason if reason != type(error).__name__ else f"the server failed ({reason})"
            raise RemoteError(f"{why} (at {shown(url)})") from None
        raise OSError(code, os.strerror(code), shown(url)) from None


def _seekable(url: str) -> Any:
    """An open file of which any part can be had; None if the server gives only all of it."""
    fs, path = _file_system(url)
    file = fs.open(
        path, "rb", block_size=BLOCK, cache_type="blockcache", cache_options={"maxblocks": BLOCKS}
    )
    try:
        file.seek(-1, io.SEEK_END)
        file.read(1)
        file.seek(0)
    except Exception:  # no size, no ranges, or no connection, which copying will find out
        file.close()
        return None
    return file


class _Reader(io.RawIOBase):
    """A file of fsspec's that fails as _asked says."""

    def __init__(self, file: Any, url: str) -> None:
        self._file, self._url = file, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = _asked(self._url, self._file.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _remove(path: str, process: int) -> None:
    """In the process that made it: those that it forked share the file."""
    if os.getpid() == process:
        with contextlib.suppress(OSError):
            os.remove(path)
