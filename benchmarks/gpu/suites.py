"""The suites that are timed on a GPU, each in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.commands import last_line, run, there

SECONDS = {
    "losses": 60.0,  # 3 to import; 9 cases of 1 s in eager and 1 in a graph, Inductor 4
    "steps": 40.0,  # 3; 8 cases: 4 captured of 3 s, 4 with Inductor of 6
    "optim": 35.0,  # 3; 8 cases of 3 s; 100 million weights are drawn in 3 more
    "penalty": 25.0,  # 3; 8 cases of 2.5 s
    "linalg": 55.0,  # 3; the pair of an FID 8; SciPy 20; 11 batches of 2
    "fid": 110.0,  # 5; FID of tensors 15 and of files 20; 3 networks of 7; 3 of 3; Inductor 60
    "manifold": 15.0,  # 3; 10,000 and 50,000 images, 3 rounds
}
"""In order of value: what each takes at most, in all 340 of the 570 s, by arithmetic for an H100.
The rest: 15 to write, 25 (at most 60) to install, 30 (60) for the smoke test, at least 20 for the
tests of tests/gpu, usually 80, and 40 for each tool of compute-sanitizer."""
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
