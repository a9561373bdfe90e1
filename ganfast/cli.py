"""The command `ganfast`.

What a user can mend is one line on stderr; any other exception is a bug in ganfast and keeps its
traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import ganfast
from ganfast.commands import bench, compare, demo, doctor, fid, sample, score, stats, train
from ganfast.commands.exit_codes import DONE, IN_WORDS, USAGE
from ganfast.commands.failure import report_error
from ganfast.interrupt import termination_raises

COMMANDS = (fid, score, stats, compare, train, sample, demo, doctor, bench)


class _Parser(argparse.ArgumentParser):
    """argparse, with wrong usage told in one line instead of a page."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Looked up when it is asked for: that imports what takes longer than all else here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"ganfast {ganfast.__version__}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (wrong usage exits at once)."""
    arguments = _build_parser().parse_args(argv)
    try:
        with termination_raises():
            code = arguments.run(arguments)
        sys.stdout.flush()  # here, where a full disk or a reader that left can still be told
        return DONE if code is None else int(code)
    except (Exception, KeyboardInterrupt) as error:
        return report_error(error)


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="ganfast",
        description="Train GANs with fused losses, measure them, and ask what runs where.",
        epilog=IN_WORDS,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show the version of ganfast and exit"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser
