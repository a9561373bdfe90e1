"""`make bench`: times every suite and writes a JSON, a table and a plot that name the machine.

Everything takes an hour; ``--quick`` sees in two minutes that it works.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import machine, report, results
from benchmarks.gpu import suites as gpu

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_OUT = ROOT / "benchmarks" / "results"

SUITES = ("losses", "linalg", "penalty", "optim", "steps", "manifold", "fid")
"""Each is benchmarks/bench_<name>.py; its docstring is title and foreword of the report."""


class Failures:
    """A pytest plugin that remembers what failed or was skipped, and why."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self.skipped.append(report.longrepr[2].removeprefix("Skipped: "))
        elif report.failed:
            why = str(report.longrepr).strip().splitlines()[-1]
            # What a gate says names its case.
            name = report.nodeid.split("[", 1)[-1].removesuffix("]")
            self.failed.append(why if isinstance(report.longrepr, str) else f"{name}: {why}")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__.split("\n")[0])
    parser.add_argument("--suite", choices=SUITES, help="only this one")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few cases")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder (benchmarks/results)")
    parser.add_argument("--threads", type=int, default=2, help="of every provider (2)")
    parser.add_argument("-k", metavar="EXPR", help="only the benchmarks that pytest's -k picks")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument("--until", type=float, help="begin no case after so many seconds")
    parser.add_argument("--load", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error(f"--threads: got {options.threads}; give at least 1")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()
    except OSError as error:  # now, not after minutes of measuring
        parser.error(f"--out {options.out}: cannot write there: {error.strerror}")
    return options


def measure(options: argparse.Namespace, raw: Path) -> tuple[int, Failures]:
    """Runs the suite; pytest's exit code, and what failed."""
    failures = Failures()
    command = [
        str(Path(__file__).resolve().parent / f"bench_{options.suite}.py"),
        f"--rootdir={ROOT}",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "--benchmark-quiet",
        f"--benchmark-json={raw}",
        f"--threads={options.threads}",
        f"--device={options.device}",
    ]
    if options.until is not None:
        command.append(f"--until={options.until}")
    if options.quick:
        command.append("--quick")
    if options.k:
        command += ["-k", options.k]
    return int(pytest.main(command, plugins=[failures])), failures


def spelled(options: argparse.Namespace) -> str:
    """The command that does this again, without the paths of this machine."""
    words = []
    if options.suite:
        words.append(f"--suite {options.suite}")
    if options.quick:
        words.append("--quick")
    if options.threads != 2:
        words.append(f"--threads {options.threads}")
    if options.device != "cpu":
        words.append(f"--device {options.device}")
    if options.k:
        words.append(f"-k {shlex.quote(options.k)}")
    return f"make bench BENCH_ARGS={shlex.quote(' '.join(words))}" if words else "make bench"


def one_suite(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.json"
        code, failures = measure(options, raw)
        if not raw.is_file() or not raw.stat().st_size:
            print("error: nothing was measured; see above", file=sys.stderr)
            return code or 1
        found = json.loads(raw.read_text())
    kept = results.trim(found, options.suite, spelled(options), failures.failed, failures.skipped)
    if options.load is not None:  # before the suites: what they did to the machine is no noise
        kept["load_before"] = options.load
    # Only a whole run that passed every gate may replace the table that is committed.
    partial = "-quick" if options.quick else "-some" if options.k else "-failed" if code else ""
    path = report.publish(kept, options.out, partial)
    print(report.verdict(kept))
    print(f"wrote {path}")
    return 1 if code else 0


def every_suite(argv: list[str], suites: Sequence[str] = SUITES) -> int:
    """Each in a process of its own, so that what one leaves behind is no other's noise."""
    load = machine.load()
    told = [] if load is None else [f"--load={load}"]
    codes = []
    for suite in suites:
        print(f"== {suite}", flush=True)
        command = [sys.executable, "-m", "benchmarks.run", *argv, f"--suite={suite}", *told]
        codes.append(subprocess.run(command).returncode)
    # With -k most suites may have nothing that it picks.
    return max([code for code in codes if code != pytest.ExitCode.NO_TESTS_COLLECTED], default=5)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    options = arguments(argv)
    if options.suite:
        return one_suite(options)
    return every_suite(argv, SUITES if options.device == "cpu" else gpu.SUITES)


if __name__ == "__main__":
    sys.exit(main())
