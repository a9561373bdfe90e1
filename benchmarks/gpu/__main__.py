"""`make gpu`: what it is asked for, and what it does where there is no GPU."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import warnings
from pathlib import Path

from benchmarks import gpu
from benchmarks.gpu.commands import ROOT, last_line, run, there

DEFAULT_OUT = ROOT / "benchmarks" / "results"
MINUTES = 9.5


def why_not() -> str | None:
    """Why there is nothing to do here; None if there is."""
    if importlib.util.find_spec("torch") is None:
        return f"PyTorch is not installed in {sys.executable}"
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about drivers; one line is enough
        return None if torch.cuda.is_available() else "PyTorch sees no CUDA GPU here"


def arguments(argv: list[str] | None) -> argparse.Namespace:
    about = (gpu.__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=about)
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


def simulated(seconds: float) -> tuple[int, str]:
    """The gates of the simulated GPU: exit code, and what came of them in a few words."""
    if not there("pytest"):
        return 0, "pytest is not installed"
    from testing.simulated_gpu.suites import PART, unavailable

    if why := unavailable():
        return 0, why
    command = [sys.executable, "-m", "testing.simulated_gpu", "-q", *PART]
    code, told = run(command, seconds, dict(os.environ))
    return (0 if code == 124 else code), last_line(told)  # a slow machine breaks nothing


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    why = why_not()
    if why is not None:
        code, told = (0, "not run") if "installed" in why else simulated(60 * options.minutes)
        print(f"make gpu: {why}, so there is nothing to test or time; simulated: {told}")
        return code
    problem = writable(options.out)
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    from benchmarks.gpu.stages import Stages  # imports torch: not before we know there is one

    with tempfile.TemporaryDirectory() as folder:
        return Stages(options.out, 60 * options.minutes, Path(folder)).all()


if __name__ == "__main__":
    sys.exit(main())
