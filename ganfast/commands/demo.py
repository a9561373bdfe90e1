"""`ganfast demo`: what training a GAN is like, measured, in one report."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganfast._options import add_flags, check, given, option
from ganfast.commands.failure import note_missing_kernels


@dataclass(frozen=True)
class DemoOptions:
    out: str | Path = option("runs/demo", "folder for the report and the runs", metavar="DIR")
    seed: int = option(0, "seed of all that is drawn at random", least=0)
    workers: int = option(2, "processes that train at a time, on a thread each", least=1)

    def __post_init__(self) -> None:
        check(self)


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="train the games on points and real handwritten digits and write a report",
        description="Train the games on points and on real handwritten digits, and write a report: "
        "costs, mode collapse and its cure, FID and more at equal time, and when to stop.",
    )
    add_flags(parser, DemoOptions)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from ganfast.train.demo import run_demo

    note_missing_kernels()
    options = DemoOptions(**given(arguments, DemoOptions))
    run_demo(Path(options.out), seed=options.seed, workers=options.workers)
