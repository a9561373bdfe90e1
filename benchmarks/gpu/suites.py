"""The suites that are timed on a GPU, each in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.commands import last_line, run, there

SECONDS = {
    "losses": 65.0,
    "steps": 35.0,
    "optim": 33.0,
    "penalty": 36.0,
    "linalg": 58.0,
    "fid": 110.0,
    "manifold": 10.0,
}
"""In order of value, what each takes at most: by arithmetic for an H100, of Harness.takes() for
each case and 3 to import. That is 347 of the 570 s of a run. The others: 15 to write, 25 (at most
60) to install, 30 (60) for the smoke test, 80 for tests/gpu in 8 processes (what is left), and 35
at most for each tool of compute-sanitizer."""
SUITES = tuple(SECONDS)
SHARE = 0.8
"""Of the time that is left after the smoke test, if that is less than those want."""
LEAST, WRITING = 15.0, 5.0
"""Seconds without which a suite is not begun, and those in which it begins no case."""


def room(suite: str, left: float) -> float:
    """Seconds for ``suite`` of those that are left for it and all after it."""
    wanted = sum(SECONDS[each] for each in SUITES[SUITES.index(suite) :])
    return SECONDS[suite] * min(1.0, left / wanted)


def measure(
    suite: str, seconds: float, environment: dict[str, str], folder: Path, *how: str
) -> dict[str, Any]:
    """Runs one suite in a process of its own; its JSON, whole or not, or a "problem"."""
    if not there("pytest") or not there("pytest-benchmark"):
        return {"problem": f"{suite}: pytest-benchmark is not installed, so nothing was timed"}
    if seconds < LEAST:
        return {"failed": [], "skipped": [f"{suite}: no time left"], "benchmarks": []}
    command = [sys.executable, "-m", "benchmarks.run", "--suite", suite, "--out", str(folder)]
    options = how or ("--device", "cuda")
    code, told = run(
        [*command, f"--until={seconds - WRITING:.0f}", *options], seconds, environment, show=True
    )
    for path in folder.glob(f"{suite}-*.json"):
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    return {"problem": f"{suite}: {last_line(told)}", "exit_code": code, "output": told[-4000:]}
