"""`ganfast score`: what one set of images tells without another to compare it with."""

from __future__ import annotations

import argparse
from typing import Any

from ganfast.commands import images
from ganfast.commands.exit_codes import DONE, IN_WORDS, SKIPPED
from ganfast.commands.fid_report import aligned, as_json, speed, with_error
from ganfast.metrics.options import ScoreOptions

_DESCRIPTION = """\
Inception Score and number of one set of images, without a reference.

SOURCE: a folder, a .zip or .tar archive, a .npy or .npz file of uint8 images, a .txt or .csv of
paths, or a quoted pattern ('out/*_fake_B.png'); or the URL of one (https://, s3://, hf://).
run:FOLDER is what the run of ganfast train in that folder makes: 10,000 images, or --num.
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "score",
        help="the Inception Score of one set of images, without a reference",
        description=_DESCRIPTION,
        epilog=IN_WORDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="the images")
    images.add_flags(parser, ScoreOptions)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with images.prepared(arguments, ScoreOptions, arguments.source) as (place, given):
        from ganfast import metrics

        source = images.opened(arguments.source, given, "source")
        result = metrics.score(source, **given)
    if not place.first:
        return DONE
    if not arguments.json:
        print(_report(result))
    else:
        if not arguments.quiet:
            images.report_on_stderr(result["notes"], result["skipped"])
        print(as_json(result))
    return SKIPPED if result["skipped"] else DONE


def _report(result: dict[str, Any]) -> str:
    return aligned(
        [
            ("IS", with_error(result, "inception_score_mean", "inception_score_std")),
            ("images", f"{result['n']:,}"),
            ("protocol", result["protocol"]),
            ("extractor", result["extractor"]),
            ("precision", result["precision"]),
            ("speed", speed(result)),
            *(("note", sentence) for sentence in result["notes"]),
            *(("skipped", name) for name in result["skipped"]),
        ]
    )
