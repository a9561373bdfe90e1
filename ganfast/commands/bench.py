"""`ganfast bench`: what each op takes on this machine."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ganfast.commands.failure import note_missing_kernels


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="time the ops on this machine, in eager PyTorch and in ganfast",
        description="Time the ops on this machine, in eager PyTorch and in ganfast: a minute.",
    )
    parser.add_argument(
        "--device", metavar="DEVICE", default="cpu", help="cpu, cuda or cuda:N (default: cpu)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny inputs: only see that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from ganfast import bench

    note_missing_kernels()
    facts = bench.measure(arguments.device, quick=arguments.quick)
    print(json.dumps(facts, indent=2) if arguments.json else bench.report(facts))
