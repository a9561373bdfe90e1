"""`make gpu`: where there is a CUDA GPU, installs ganfast, runs the GPU tests, times the losses.

    python3 benchmarks/gpu.py --out FOLDER

Works in the Python that runs it, because a machine with a GPU usually has a torch chosen for it.
Writes FOLDER/gpu-<name of the GPU>.json and .md within ten minutes. Where there is no GPU, or no
torch, it says so in one line and exits with 0.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

if __package__ in (None, ""):  # run as a script: not benchmarks/, whose names are common words
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import gpu_report

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_OUT = ROOT / "benchmarks" / "results"
MINUTES = 9.5
SPARE = 15.0
"""Seconds kept for writing what was measured."""
TESTS_SHARE = 0.45
"""Of the time, for the tests; the losses get what is left, and leave out what does not fit."""


def why_not() -> str | None:
    """Why there is nothing to do here; None if there is."""
    if importlib.util.find_spec("torch") is None:
        return f"PyTorch is not installed in {sys.executable}"
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about drivers; one line is enough
        return None if torch.cuda.is_available() else "PyTorch sees no CUDA GPU here"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    triton = importlib.util.find_spec("triton") and __import__("triton").__version__
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "processors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "l2_mib": round(getattr(properties, "L2_cache_size", 0) / 2**20, 1),
        "cuda": torch.version.cuda,
        "driver": driver(),
        "torch": torch.__version__,
        "triton": triton or None,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def driver() -> str | None:
    """The driver's version, if nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.splitlines()[0].strip() if told.stdout.strip() else None


def run(command: list[str], seconds: float, environment: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of ``command``; 124 if it took longer than ``seconds``."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=max(1.0, seconds),
        )
    except subprocess.TimeoutExpired as error:
        told = error.stdout or b""
        told = told.decode(errors="replace") if isinstance(told, bytes) else told
        return 124, f"{told}\nstopped after {seconds:.0f} s"
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout


def install(seconds: float, environment: dict[str, str]) -> str:
    """Installs this checkout with what is there; what came of it, in one line.

    If that fails the tests and benchmarks import the checkout itself: the GPU kernels are compiled
    when they are first used, and need no install.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    code, told = run([*command, "--no-build-isolation", "-e", "."], seconds, environment)
    if code == 0:
        return "installed"
    last = (told.strip().splitlines() or ["no message"])[-1]
    return f"pip could not install it ({last.strip()}); imported from the checkout"


def test(seconds: float, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """Runs tests/gpu; counts, seconds, and what failed."""
    if importlib.util.find_spec("pytest") is None:
        return {"problem": "pytest is not installed, so no test was run"}
    report = folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-p", "no:cacheprovider"]
    begin = time.monotonic()
    code, told = run([*command, "--tb=short", f"--junitxml={report}"], seconds, environment)
    found: dict[str, Any] = {"exit_code": code, "seconds": round(time.monotonic() - begin, 1)}
    if report.is_file():
        found.update(counts(report.read_text(encoding="utf-8")))
    if code != 0:
        found["output"] = told[-8000:]
        found["problem"] = (told.strip().splitlines() or ["no output"])[-1]
    return found


def counts(junit: str) -> dict[str, Any]:
    """passed, failed, skipped and the names of the failed, of a JUnit file."""
    suites = list(ElementTree.fromstring(junit).iter("testsuite"))
    total, failed, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors"), ("skipped",))
    )
    broken = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in ElementTree.fromstring(junit).iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return {
        "passed": total - failed - skipped,
        "failed": failed,
        "skipped": skipped,
        "failures": broken,
    }


def losses(seconds: float, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """Runs benchmarks/gpu_losses.py; what it wrote, whole or not."""
    path = folder / "losses.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_losses.py"), str(path)]
    # A case takes up to half a minute, most of it torch.compile's: none begins that could not end.
    begin_until = max(1.0, seconds - 40.0)
    code, told = run([*command, "--seconds", f"{begin_until:.0f}"], seconds, environment)
    found: dict[str, Any] = {"rows": [], "left_out": []}
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            code = code or 1
    if code != 0:
        found["problem"] = (told.strip().splitlines() or ["no output"])[-1]
        found["output"] = told[-4000:]
    return found


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.py", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder (benchmarks/results)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"at most ({MINUTES})")
    options = parser.parse_args(argv)
    if not options.minutes > 0:
        parser.error(f"--minutes: got {options.minutes:g}; give a positive number")
    return options


def writable(folder: Path) -> str | None:
    """Why nothing can be written to ``folder``: better known now than after ten minutes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"--out {folder}: cannot write there: {error.strerror}"
    return None


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    why = why_not()
    if why is not None:
        print(f"make gpu: {why}, so there is nothing to test or time")
        return 0
    problem = writable(options.out)
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    from benchmarks import results  # which imports torch: not before we know that there is one

    end = time.monotonic() + 60 * options.minutes - SPARE
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(python_path())}
    facts = machine()
    print(f"installing for {facts['gpu']}", flush=True)
    kept: dict[str, Any] = {"machine": facts, "install": install(120.0, environment)}
    with tempfile.TemporaryDirectory() as folder:
        print("running tests/gpu", flush=True)
        share = TESTS_SHARE * (end - time.monotonic())
        kept["tests"] = test(share, environment, Path(folder))
        print(gpu_report.tested(kept["tests"]).removeprefix("- "), flush=True)
        print("timing the losses", flush=True)
        kept["losses"] = losses(end - time.monotonic(), environment, Path(folder))
    stem = "gpu-" + re.sub(r"[^a-z0-9]+", "-", facts["gpu"].lower()).strip("-")
    results.write(options.out / f"{stem}.json", json.dumps(kept, indent=1) + "\n")
    results.write(options.out / f"{stem}.md", gpu_report.markdown(kept))
    print(f"wrote {options.out / stem}.md")
    fine = kept["tests"].get("exit_code") == 0 and "problem" not in kept["losses"]
    return 0 if fine else 1


def python_path() -> list[str]:
    """The checkout first, so that what is tested is what lies here, installed or not."""
    return [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]


if __name__ == "__main__":
    sys.exit(main())
