"""`ganfast stats`: the statistics of one set of images, to be compared with many others."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ganfast._atomic_file import require_writable
from ganfast._terminal import printable
from ganfast.commands import images
from ganfast.commands.exit_codes import DONE, IN_WORDS, SKIPPED
from ganfast.errors import InputError
from ganfast.metrics.options import StatisticsOptions

_DESCRIPTION = """\
Mean and covariance of the features of one set of images, in a file that ganfast fid takes in place
of the images and that pytorch-fid can read. It says how it was made.

SOURCE: a folder, a .zip or .tar archive, a .npy or .npz file of uint8 images, a .txt or .csv of
paths, or a quoted pattern ('out/*_fake_B.png'); or the URL of one (https://, s3://, hf://).
run:FOLDER is what the run of ganfast train in that folder makes: 10,000 images, or --num.
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
    images.add_flags(parser, StatisticsOptions)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.npz if it is there")
    parser.set_defaults(run=_run)


def _npz(text: str) -> str:
    if not text.lower().endswith(".npz"):
        message = f"OUT.npz: got {text!r}; give a name that ends in .npz"
        raise argparse.ArgumentError(None, message)
    return text


def _run(arguments: argparse.Namespace) -> int:
    with images.prepared(arguments, StatisticsOptions, arguments.source) as (place, given):
        _check_out(arguments)
        from ganfast import metrics

        source = images.opened(arguments.source, given, "source")
        statistics = metrics.image_statistics(source, **given)
        if place.first:
            statistics.save(arguments.out)
    if not place.first:
        return DONE
    if not arguments.quiet:
        images.report_on_stderr(statistics.notes, statistics.skipped)
    line = f"{arguments.out}: mu and sigma of {statistics.n:,} images, {statistics.protocol}"
    print(printable(line, lines=False))
    return SKIPPED if statistics.skipped else DONE


def _check_out(arguments: argparse.Namespace) -> None:
    require_writable(arguments.out, "OUT.npz")
    if os.path.exists(arguments.out) and not arguments.overwrite:
        raise InputError(
            f"OUT.npz: got {arguments.out!r}, which is there already; replace it with --overwrite, "
            "or choose another name"
        )
