"""What is said of an exception, and the exit code that it becomes."""

from __future__ import annotations

import importlib.util
import os
import sys

from ganfast._terminal import note, printable
from ganfast.commands.exit_codes import FAILED, INTERRUPTED, TERMINATED
from ganfast.errors import DivergedError, InputError, one_line
from ganfast.interrupt import Terminated


def report_error(error: BaseException) -> int:
    """One line on stderr for what a user can mend; returns the exit code.

    Any other exception is a bug and is raised again, to keep its traceback.
    """
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has left; Python must not fail once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    code = exit_code(error)
    if code == TERMINATED:
        line = f"terminated{error}"
    elif code == INTERRUPTED:
        line = f"interrupted{error}"
    elif isinstance(error, (InputError, DivergedError, OSError)):
        line = f"error: {one_line(error)}"
    else:
        raise error
    print(f"ganfast: {printable(line, sys.stderr, lines=False)}", file=sys.stderr)
    return code


def exit_code(error: BaseException) -> int:
    """What a process that ends with ``error`` tells the one that started it."""
    if isinstance(error, Terminated):
        return TERMINATED
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED


def note_missing_kernels() -> None:
    """Say it once, before the work: an install without a compiler is slower, and pip hid it."""
    if importlib.util.find_spec("ganfast._cpu") is None:
        note("the C++ kernels are not built (see ganfast doctor)")
