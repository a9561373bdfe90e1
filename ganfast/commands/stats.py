"""`ganfast stats`: the statistics of one set of images, to be compared with many others."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any

from ganfast.commands import distributed, images
from ganfast.commands.arguments import npz
from ganfast.commands.exit_codes import DONE, IN_WORDS, SKIPPED
from ganfast.commands.failure import note_missing_kernels
from ganfast.commands.fid_report import printable
from ganfast.errors import InputError

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
    parser.add_argument("out", metavar="OUT.npz", type=npz, help="the file to write")
    images.add_flags(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.npz if it is there")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    given = images.settings(arguments, images.NAMED_BY_FLAG)
    with distributed.joined(given.get("device")) as place, images.told_what_helps(arguments):
        images.check_paths(arguments, arguments.source)
        _check_out(arguments)
        if place.first:
            note_missing_kernels()
        given |= {"device": place.device} if place.device else {}
        given["progress"] = place.first and images.wants_progress(arguments)
        found = _look(arguments.source, given)
        if place.first:
            found.save(arguments.out)
    if not place.first:
        return DONE
    skipped = list(found.skipped)
    if not arguments.quiet:
        images.tell_on_stderr([], skipped)
    print(printable(f"{arguments.out}: mu and sigma of {found.n:,} images, {found.protocol}"))
    return SKIPPED if skipped else DONE


def _check_out(arguments: argparse.Namespace) -> None:
    images.check_writable(arguments.out, "OUT.npz")
    if os.path.exists(arguments.out) and not arguments.overwrite:
        raise InputError(
            f"OUT.npz: {arguments.out!r} is there already: replace it with --overwrite, or choose "
            "another name"
        )


def _look(source: str, given: dict[str, Any]) -> Any:
    from ganfast import metrics

    with contextlib.redirect_stdout(sys.stderr):
        return metrics.image_statistics(source, **given)
