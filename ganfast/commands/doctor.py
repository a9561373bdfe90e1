"""`ganfast doctor`: what is there, and what serves."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="what is installed, what is built, and which backend serves which op",
        description="What is installed, what is built, and which backend serves which op, and why.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from ganfast import doctor

    facts = doctor.examine()
    print(json.dumps(facts, indent=2) if arguments.json else doctor.report(facts))
