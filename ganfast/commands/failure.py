"""What is said of an exception, and the exit code that it becomes."""

from __future__ import annotations

import importlib.util
import os
import sys

from ganfast._terminal import note, printable
from ganfast.commands.exit_codes import FAILED, INTERRUPTED
from ganfast.errors import DivergedError, InputError, one_line


def report_error(error: BaseException) -> int:
    """One line on stderr for what a user can mend; returns the exit code.

    Any other exception is a bug and is raised again, to keep its traceback.
    """
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has left; Python must not fail once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, KeyboardInterrupt):
        line, code = f"interrupted{error}", INTERRUPTED
    elif isinstance(error, (InputError, DivergedError, OSError)):
        line, code = f"error: {one_line(error)}", FAILED
    else:
        raise error
    print(f"ganfast: {printable(line, sys.stderr, lines=False)}", file=sys.stderr)
    return code


def note_missing_kernels() -> None:
    """Say it once, before the work: an install without a compiler is slower, and pip hid it."""
    if importlib.util.find_spec("ganfast._cpu") is None:
        note("the C++ kernels are not built (see ganfast doctor)")
