"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ganfast import _checks
from ganfast.errors import InputError


def require_writable(path: str | os.PathLike[str], argument: str) -> None:
    """Raise InputError if a file can't be put there: better before hours of work than after."""
    path = _checks.path(argument, path)
    if path.is_dir():
        raise InputError(f"{argument}: got {str(path)!r}, which is a folder; give a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{argument}: there is no folder {str(path.parent)!r}; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{argument}: can't write to the folder {str(path.parent)!r}; choose another"
        )


def write_atomically(
    path: str | os.PathLike[str],
    argument: str,
    write: Callable[[BinaryIO], object],
    *,
    one_writer: bool = False,
) -> None:
    """Let ``write`` fill a file beside ``path``, then rename it.

    Killed or out of power at any moment, ``path`` is what it was or what it should become. Raises
    InputError, with nothing left behind, where the system refuses (no room, no permission). With
    ``one_writer`` what a killed process left beside is overwritten the next time; without it,
    several processes may write one path at a time, and the last one's stays.
    """
    path = _checks.path(argument, path)
    require_writable(path, argument)
    beside = path_beside(path) if one_writer else path_beside(path, os.getpid())
    try:
        with _removed_on_failure(beside), open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        with _removed_on_failure(beside):
            os.replace(beside, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"{argument}: {str(path)!r} could not be written ({error.strerror or error}): nothing "
            "was left behind; make room or choose another place"
        ) from None


def path_beside(path: Path, writer: int | None = None) -> Path:
    """Where a file is written before it is renamed."""
    return path.with_name(f".{path.name}{'' if writer is None else f'.{writer}'}.part")


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """The rename itself outlives a power cut only so, where folders can be opened."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # some network file systems refuse; the file is in place
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
