"""What `ganfast fid` and `ganfast stats` share: their flags, and what surrounds the work."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import filterfalse
from typing import Any

from ganfast import _options
from ganfast._atomic_file import require_writable
from ganfast._remote import is_url
from ganfast._terminal import note, shows_progress
from ganfast.commands import distributed
from ganfast.commands.failure import note_missing_kernels
from ganfast.errors import InputError
from ganfast.metrics.image_options import ImageOptions


def add_flags(parser: argparse.ArgumentParser, cls: type[ImageOptions]) -> None:
    """The flags of these options, and how much is said on stderr."""
    _options.add_flags(parser, cls)
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no progress bar and no notes on stderr"
    )


@contextmanager
def prepared(
    arguments: argparse.Namespace, cls: type[ImageOptions], *sources: str
) -> Iterator[tuple[distributed.Place, dict[str, Any]]]:
    """Within, the work may begin: with this process's place among all, and the keywords of the
    options that were given. What is printed goes to stderr, since stdout is for the result and an
    extractor of the user's own may print."""
    given = _options.given(arguments, cls)
    with distributed.joined(given.get("device")) as place, _with_hints(arguments):
        _check_paths(arguments, *sources)
        if place.first:
            note_missing_kernels()
        silent = not place.first or arguments.no_progress or arguments.quiet
        given |= {"device": place.device} if place.device else {}
        given["progress"] = shows_progress() and not silent
        with redirect_stdout(sys.stderr):
            yield place, given


RUN = "run:"
RUN_COUNT = 10_000


def opened(source: str, given: dict[str, Any], name: str) -> Any:
    """``source`` as it is; of ``run:FOLDER`` the images that the run there makes: 10,000 of them,
    or as many as --num says."""
    if not source.startswith(RUN):
        return source
    from ganfast.train.generated import run_images

    return run_images(source.removeprefix(RUN), given.get("num") or RUN_COUNT, name)


def _check_paths(arguments: argparse.Namespace, *sources: str) -> None:
    """InputError for what can be seen at a glance, before a second is spent on imports, let alone
    hours on images."""
    for path in filterfalse(is_url, sources):
        if path == RUN:
            raise InputError("got 'run:'; give run:FOLDER, the folder of a run of ganfast train")
        path = path.removeprefix(RUN)
        if not path:
            raise InputError("got an empty name; give a file or folder of images")
        if not os.path.exists(os.path.expanduser(path)) and not (
            glob.has_magic(path) or "{" in path
        ):
            raise InputError(f"no such file or folder: {path!r}")
    weights = getattr(arguments, "weights", None)
    if weights is not None and not is_url(weights) and not os.path.isfile(weights):
        raise InputError(f"--weights: got {weights!r}, which is no file; give the file of weights")
    state = getattr(arguments, "state", None)
    if state is not None:
        require_writable(state, "--state")


@contextmanager
def _with_hints(arguments: argparse.Namespace) -> Iterator[None]:
    """Too little memory, and Ctrl-C or SIGTERM, with what to do about them."""
    try:
        yield
    except KeyboardInterrupt as error:
        state = getattr(arguments, "state", None)
        if state is None or not os.path.exists(state):
            raise
        kept = f"; {state} keeps what is done, and the same command goes on with it"
        raise type(error)(kept) from None
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise InputError("out of memory; give a smaller --batch-size or fewer --workers") from error


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a type for the GPU's memory alone, and it is not imported here."""
    words = "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or words


def report_on_stderr(notes: Sequence[str], skipped: Sequence[str]) -> None:
    """What a reader of the result alone would miss."""
    for sentence in notes:
        note(sentence)
    for name in skipped:
        note(f"skipped {name}")
