"""One process at a time for a folder or a file that is written again and again."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable
from pathlib import Path

from ganfast.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Lock:
    """Held by this process from now until ``release``, or its end in whatever way.

    It is advisory, a lock on the file ``path``, which is made for it and removed again. Where the
    system has no such locks, or refuses one here (some network file systems), nothing is held and
    nobody refused. Threads of one process don't exclude each other.

    Args:
        path: the file to lock, hidden, and used for nothing else.
        refusal: the message of the InputError that is raised if another process holds it.
    """

    def __init__(self, path: Path, refusal: str) -> None:
        self.release: Callable[[], object] = lambda: None
        if fcntl is None:
            return  # type: ignore[unreachable]
        with contextlib.suppress(OSError):
            try:
                descriptor = _locked(path)
            except BlockingIOError:
                raise InputError(refusal) from None
            self.release = weakref.finalize(self, _let_go, path, descriptor, os.getpid())

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _locked(path: Path) -> int:
    """The descriptor that the lock hangs on; BlockingIOError if another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        mine = False
        try:
            # Not flock: worker processes would inherit it, and hold it for a while after us.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = _is_at(path, descriptor)
            if mine:  # else its last holder has just removed it
                return descriptor
        finally:
            if not mine:
                os.close(descriptor)


def _let_go(path: Path, descriptor: int, holder: int) -> None:
    if os.getpid() == holder and _is_at(path, descriptor):  # not in a worker forked from it
        with contextlib.suppress(OSError):
            path.unlink()
    os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
