"""`ganfast fid`: how far one set of images is from another."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

from ganfast.commands import distributed, images
from ganfast.commands.arguments import whole
from ganfast.commands.exit_codes import DONE, IN_WORDS, SKIPPED
from ganfast.commands.failure import note_missing_kernels
from ganfast.commands.fid_report import as_json, certificate, report

NAMED_BY_FLAG = (
    *images.NAMED_BY_FLAG,
    *("inception_score", "splits", "kid", "bootstrap", "fid_infinity", "seed", "allow_mismatch"),
)
"""The arguments of ganfast.metrics.evaluate that have a flag of the same name."""

_DESCRIPTION = """\
Frechet Inception Distance of the images FAKE from the images REAL, and what the same pass gives.

REAL and FAKE: a folder, a .zip or .tar archive, a .npy or .npz file of uint8 images, or a
statistics file (ganfast stats, pytorch-fid). Several processes share the work:
torchrun --nproc-per-node 2 -m ganfast fid REAL FAKE
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
    images.add_flags(parser)
    _add_flags(parser)
    parser.set_defaults(run=lambda arguments: _run(arguments, parser))


def _add_flags(parser: argparse.ArgumentParser) -> None:
    def add(flag: str, text: str, **facts: Any) -> None:
        parser.add_argument(flag, default=argparse.SUPPRESS, help=text, **facts)

    add(
        "--no-inception-score",
        "leave out the Inception Score of FAKE",
        dest="inception_score",
        action="store_false",
    )
    add(
        "--splits",
        "parts of FAKE that the Inception Score is averaged over (default: 10)",
        metavar="N",
        type=whole(1),
    )
    add("--kid", "also the Kernel Inception Distance", action="store_true")
    add(
        "--bootstrap",
        "also a 95%% interval of FID, of N resamplings (default: 0, none)",
        metavar="N",
        type=whole(0),
    )
    add("--fid-infinity", "also FID extrapolated to infinitely many images", action="store_true")
    add("--seed", "of whatever is drawn (default: 0)", metavar="N", type=whole(0))
    add(
        "--allow-mismatch",
        "compare with statistics that another protocol or network made",
        action="store_true",
    )
    parser.add_argument(
        "--certify",
        action="store_true",
        help="what --precision (then bf16 by default) costs: the FID in it and in fp32",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    given = images.settings(arguments, NAMED_BY_FLAG)
    precisions = [given.pop("precision", "bf16" if arguments.certify else "fp32")]
    if arguments.certify:
        if precisions == ["fp32"]:
            parser.error("--certify compares with fp32: give --precision bf16 or tf32")
        if "state" in given:
            parser.error("--certify makes two runs, and --state holds one: leave one of them out")
        precisions.insert(0, "fp32")
    with distributed.joined(given.get("device")) as place, images.told_what_helps(arguments):
        images.check_paths(arguments, arguments.real, arguments.fake)
        if place.first:
            note_missing_kernels()
        given |= {"device": place.device} if place.device else {}
        given["progress"] = place.first and images.wants_progress(arguments)
        results = [_evaluate(arguments, given | {"precision": each}) for each in precisions]
    if place.first:
        _tell(arguments, results)
    return SKIPPED if place.first and any(found["skipped"] for found in results) else DONE


def _evaluate(arguments: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    from ganfast import metrics

    # An extractor of the user's own may print, and stdout is for the result.
    with contextlib.redirect_stdout(sys.stderr):
        found: dict[str, Any] = metrics.evaluate(arguments.real, arguments.fake, **given)
    return found


def _tell(arguments: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    found = results[-1]
    if arguments.certify:
        found = {**found, "certificate": certificate(*results)}
    if not arguments.json:
        print(report(found))
        return
    if not arguments.quiet:
        images.tell_on_stderr(found["notes"], found["skipped"])
    print(as_json(found))
