"""The tests of tests/gpu, a file at a time, and compute-sanitizer over the CUDA C++ kernels."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.commands import GRACE, ROOT, last_line, run, there

SMOKE = "tests/gpu/test_gpu_ops.py"
"""Each op once, by each backend, against float64."""
TOOLS = ("memcheck", "racecheck")


def chunks() -> list[str]:
    """The files of tests/gpu that are not the smoke: a hang in one costs no other its results."""
    names = (f"tests/gpu/{path.name}" for path in sorted((ROOT / "tests/gpu").glob("test_*.py")))
    return [name for name in names if name != SMOKE]


def test(target: str, seconds: float, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """Runs a file of tests, each test's outcome written when it is over; what came of them."""
    importlib.invalidate_caches()
    if not there("pytest"):
        return {"target": target, "problem": "pytest is not installed, so no test was run"}
    if seconds < GRACE:
        return {"target": target, "problem": "no time left"}
    log = folder / f"{Path(target).stem}.jsonl"
    command = [sys.executable, "-m", "pytest", target, "-q", "-p", "no:cacheprovider"]
    command += ["-p", "benchmarks.gpu.outcomes", f"--results={log}", "--tb=short"]
    if there("xdist"):
        command += ["-n", "8"]
    begin = time.monotonic()
    code, told = run(command, seconds, environment, show=True)
    found: dict[str, Any] = {"target": target, "exit_code": code}
    found |= {"seconds": round(time.monotonic() - begin, 1)}
    if log.is_file():
        found |= counts(log.read_text(encoding="utf-8"))
    if code != 0:
        found |= {"output": told[-8000:], "problem": last_line(told)}
    return found


def counts(lines: str) -> dict[str, Any]:
    """passed, failed, skipped, the names of the failed, and every test, of outcomes.py's lines."""
    tests = [json.loads(line) for line in lines.splitlines() if line.endswith("}")]
    outcomes = [each["outcome"] for each in tests]
    return {
        **{name: outcomes.count(name) for name in ("passed", "failed", "skipped")},
        "failures": sorted(each["test"] for each in tests if each["outcome"] == "failed"),
        "tests": tests,
    }


def sanitize(tool: str, seconds: float, environment: dict[str, str]) -> dict[str, Any]:
    """compute-sanitizer's ``tool`` over each op of the CUDA C++ kernels."""
    found: dict[str, Any] = {"target": f"compute-sanitizer {tool}"}
    program = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    if program is None:
        return {**found, "skipped": "compute-sanitizer is not installed"}
    if seconds < GRACE:
        return {**found, "problem": "no time left"}
    command = [program, f"--tool={tool}", "--error-exitcode=9", "--target-processes=all"]
    command += [sys.executable, "-m", "pytest", SMOKE, "-q", "-k", "cuda", "--tb=short"]
    # Or torch's allocator would hide who steps out of a tensor into its neighbour.
    code, told = run(
        [*command, "-p", "no:cacheprovider"],
        seconds,
        {**environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        show=True,
    )
    found |= {"exit_code": code, "summary": last_line(told)}
    return found if code == 0 else {**found, "problem": last_line(told), "output": told[-4000:]}
