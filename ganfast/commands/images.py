"""What `ganfast fid` and `ganfast stats` share: the flags that say how images become features."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ganfast import _options
from ganfast._atomic_file import require_writable
from ganfast._terminal import note, shows_progress
from ganfast.errors import InputError
from ganfast.metrics.options import ImageOptions


def add_flags(parser: argparse.ArgumentParser, cls: type[ImageOptions]) -> None:
    """The flags of these options, and how much is said on stderr."""
    _options.add_flags(parser, cls)
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no progress bar and no notes on stderr"
    )


def wants_progress(arguments: argparse.Namespace) -> bool:
    return shows_progress() and not (arguments.no_progress or arguments.quiet)


def check_paths(arguments: argparse.Namespace, *sources: str) -> None:
    """InputError for what can be seen at a glance, before a second is spent on imports, let alone
    hours on images."""
    for path in sources:
        if not os.path.exists(path):
            raise InputError(f"no such file or folder: {path!r}")
    weights = getattr(arguments, "weights", None)
    if weights is not None and not os.path.isfile(weights):
        raise InputError(f"--weights: got {weights!r}, which is no file; give the file of weights")
    state = getattr(arguments, "state", None)
    if state is not None:
        require_writable(state, "--state")


@contextmanager
def with_hints(arguments: argparse.Namespace) -> Iterator[None]:
    """Too little memory, and Ctrl-C, with what to do about them."""
    try:
        yield
    except KeyboardInterrupt:
        state = getattr(arguments, "state", None)
        if state is None or not os.path.exists(state):
            raise
        kept = f"; {state} keeps what is done, and the same command goes on with it"
        raise KeyboardInterrupt(kept) from None
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise InputError("out of memory: give a smaller --batch-size or fewer --workers") from error


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a type for the GPU's memory alone, and it is not imported here."""
    words = "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or words


def report_on_stderr(notes: list[str], skipped: list[str]) -> None:
    """What a reader of the result alone would miss."""
    for sentence in notes:
        note(sentence)
    for name in skipped:
        note(f"skipped {name}")
