"""`ganfast fid`: how far one set of images is from another."""

from __future__ import annotations

import argparse
from typing import Any

from ganfast.commands import images
from ganfast.commands.exit_codes import DONE, IN_WORDS, SKIPPED
from ganfast.commands.fid_report import as_json, certificate, report
from ganfast.metrics.options import EvaluationOptions

_DESCRIPTION = """\
Frechet Inception Distance of the images FAKE from the images REAL, and what the same pass gives.

REAL and FAKE: a folder, a .zip or .tar archive, a .npy or .npz file of uint8 images, a .txt or
.csv of paths, a quoted pattern ('out/*_fake_B.png'), or a file of statistics (ganfast stats,
pytorch-fid) or of features (--keep-features); each may be a URL (https://, s3://, hf://).
run:FOLDER is what the run of ganfast train in that folder makes: 10,000 images, or --num. Several
processes share the work: torchrun --nproc-per-node 2 -m ganfast fid REAL FAKE
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "fid",
        help="the Frechet Inception Distance of two sets of images",
        description=_DESCRIPTION,
        epilog=IN_WORDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("real", metavar="REAL", help="the images to compare with")
    parser.add_argument("fake", metavar="FAKE", help="the images that are judged")
    images.add_flags(parser, EvaluationOptions)
    parser.add_argument(
        "--certify",
        action="store_true",
        help="what --precision (then bf16 by default) costs: the FID in it and in fp32",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=lambda arguments: _run(arguments, parser))


def _run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    sides = arguments.real, arguments.fake
    precisions = [getattr(arguments, "precision", "bf16" if arguments.certify else "fp32")]
    if arguments.certify:
        if precisions == ["fp32"]:
            parser.error("--certify compares with fp32: give --precision bf16 or tf32")
        if hasattr(arguments, "state"):
            parser.error("--certify makes two runs, and --state holds one: leave one of them out")
        precisions.insert(0, "fp32")
    with images.prepared(arguments, EvaluationOptions, *sides) as (place, given):
        from ganfast import metrics

        names = ("real", "fake")
        sides = tuple(images.opened(s, given, name) for s, name in zip(sides, names, strict=True))
        results = [metrics.evaluate(*sides, **{**given, "precision": each}) for each in precisions]
    if place.first:
        _print(arguments, results)
    return SKIPPED if place.first and any(result["skipped"] for result in results) else DONE


def _print(arguments: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    result = results[-1]
    if arguments.certify:
        result = {**result, "certificate": certificate(*results)}
    if not arguments.json:
        print(report(result))
        return
    if not arguments.quiet:
        images.report_on_stderr(result["notes"], result["skipped"])
    print(as_json(result))
