"""`ganfast stats`: the statistics of one set of images, to be compared with many others."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any

from ganfast import _options
from ganfast._atomic_file import require_writable
from ganfast._terminal import printable
from ganfast.commands import distributed, images
from ganfast.commands.exit_codes import DONE, IN_WORDS, SKIPPED
from ganfast.commands.failure import note_missing_kernels
from ganfast.errors import InputError
from ganfast.metrics.options import ImageOptions

_DESCRIPTION = """\
Mean and covariance of the features of one set of images, in a file that ganfast fid takes in place
of the images and that pytorch-fid can read. It says how it was made.

SOURCE: a folder, a .zip or .tar archive, or a .npy or .npz file of uint8 images.
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "stats",
        help="write the statistics of a set of images, for many comparisons",
        description=_DESCRIPTION,
        epilog=IN_WORDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="the images")
    parser.add_argument("out", metavar="OUT.npz", type=_npz, help="the file to write")
    images.add_flags(parser, ImageOptions)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.npz if it is there")
    parser.set_defaults(run=_run)


def _npz(text: str) -> str:
    if not text.lower().endswith(".npz"):
        message = f"OUT.npz: got {text!r}; give a name that ends in .npz"
        raise argparse.ArgumentError(None, message)
    return text


def _run(arguments: argparse.Namespace) -> int:
    given = _options.given(arguments, ImageOptions)
    with distributed.joined(given.get("device")) as place, images.with_hints(arguments):
        images.check_paths(arguments, arguments.source)
        _check_out(arguments)
        if place.first:
            note_missing_kernels()
        given |= {"device": place.device} if place.device else {}
        given["progress"] = place.first and images.wants_progress(arguments)
        made = _statistics(arguments.source, given)
        if place.first:
            made.save(arguments.out)
    if not place.first:
        return DONE
    skipped = list(made.skipped)
    if not arguments.quiet:
        images.report_on_stderr([], skipped)
    line = f"{arguments.out}: mu and sigma of {made.n:,} images, {made.protocol}"
    print(printable(line, lines=False))
    return SKIPPED if skipped else DONE


def _check_out(arguments: argparse.Namespace) -> None:
    require_writable(arguments.out, "OUT.npz")
    if os.path.exists(arguments.out) and not arguments.overwrite:
        raise InputError(
            f"OUT.npz: got {arguments.out!r}, which is there already; replace it with --overwrite, "
            "or choose another name"
        )


def _statistics(source: str, given: dict[str, Any]) -> Any:
    from ganfast import metrics

    with contextlib.redirect_stdout(sys.stderr):
        return metrics.image_statistics(source, **given)
