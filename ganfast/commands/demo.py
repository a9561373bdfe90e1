"""`ganfast demo`: the games on real handwritten digits, and a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ganfast.commands.arguments import whole
from ganfast.commands.failure import note_missing_kernels


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="train the games on real handwritten digits and write a report",
        description="Train the games on real handwritten digits and write a report with pictures.",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/demo"), help="(default: runs/demo)"
    )
    parser.add_argument("--seed", metavar="N", type=whole(0), default=0, help="(default: 0)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from ganfast.train.demo import run_demo

    note_missing_kernels()
    run_demo(arguments.out, seed=arguments.seed)
