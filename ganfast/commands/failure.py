"""What is said of an exception, and the exit code that it becomes."""

from __future__ import annotations

import os
import sys

from ganfast.commands.exit_codes import FAILED, INTERRUPTED
from ganfast.errors import DivergedError, InputError


def tell(error: BaseException) -> int:
    """One line on stderr for what a user can mend; returns the exit code.

    Any other exception is a bug and is raised again, to keep its traceback.
    """
    if isinstance(error, KeyboardInterrupt):
        print(f"ganfast: interrupted{error}", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has left; Python must not fail once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, (InputError, DivergedError, OSError)):
        print(f"ganfast: error: {one_line(error)}", file=sys.stderr)
        return FAILED
    raise error


def one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename!r}" if error.filename else ""
        return f"{error.strerror}{where}"
    return " ".join(str(error).split())


def note_missing_kernels() -> None:
    """Say it once, before the work: an install without a compiler is slower, and pip hid it."""
    import importlib.util

    if importlib.util.find_spec("ganfast._cpu") is None:
        note("the C++ kernels are not built (see ganfast doctor)")


def note(sentence: str) -> None:
    print(f"ganfast: note: {sentence}", file=sys.stderr)
