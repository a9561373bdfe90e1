"""`make gpu`: where there is a CUDA GPU, installs ganfast, runs the GPU tests, times the ops.

    python3 -m benchmarks.gpu --out FOLDER

Works in the Python that runs it, because a machine with a GPU usually has a torch chosen for it.
Writes FOLDER/gpu-<name of the GPU>.json and .md within ten minutes. Where there is no GPU, or no
torch, it says so in one line and exits with 0.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_OUT = ROOT / "benchmarks" / "results"
MINUTES = 9.5
SPARE = 15.0
"""Seconds kept for writing what was measured."""
TESTS_SHARE, LOSSES_SHARE = 0.45, 0.6
"""Of the time that is left, for the tests and then for the losses; each suite after them gets an
equal part of what is left then, and leaves out what does not fit."""
SUITES = ("losses", "penalty", "optim", "linalg", "manifold", "fid")
"""Those with cases for a GPU."""
GRACE = 10.0
"""Seconds in which a command that is stopped may still write what it has."""
CASE = 30.0
"""Seconds that a case takes at most, most of them torch.compile's: none begins that could not
end."""


def why_not() -> str | None:
    """Why there is nothing to do here; None if there is."""
    if importlib.util.find_spec("torch") is None:
        return f"PyTorch is not installed in {sys.executable}"
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about drivers; one line is enough
        return None if torch.cuda.is_available() else "PyTorch sees no CUDA GPU here"


def run(command: list[str], seconds: float, environment: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of ``command``; 124 if it took longer than ``seconds``."""
    try:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return 127, str(error)
    try:
        told, _ = process.communicate(timeout=max(1.0, seconds))
        return process.returncode, told
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # pytest then still writes what it has
    except BaseException:
        process.kill()
        raise
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=GRACE)
    process.kill()
    told, _ = process.communicate()
    return 124, f"{told}\nstopped after {seconds:.0f} s"


def last_line(told: str) -> str:
    return (told.strip().splitlines() or ["no output"])[-1].strip()


def install(seconds: float, environment: dict[str, str]) -> str:
    """Installs this checkout with what is there; what came of it, in one line.

    If that fails the tests and benchmarks import the checkout itself: the GPU kernels are compiled
    when they are first used, and need no install.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    missing = [name for name in ("pytest", "pytest-benchmark") if not there(name)]
    if missing:  # the report tells if this fails
        run([*pip, *missing], seconds / 2, environment)
    options = ["--no-deps", "--no-build-isolation", "-e", "."]
    code, told = run([*pip, *options], seconds, environment)
    if code == 0:
        return "installed"
    return f"pip could not install it ({last_line(told)}); imported from the checkout"


def there(package: str) -> bool:
    return importlib.util.find_spec(package.replace("-", "_")) is not None


def test(seconds: float, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """Runs tests/gpu; counts, seconds, and what failed."""
    importlib.invalidate_caches()
    if not there("pytest"):
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
        found["problem"] = last_line(told)
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


def measure(
    suite: str, seconds: float, environment: dict[str, str], folder: Path, *how: str
) -> dict[str, Any]:
    """Runs one suite in a process of its own; its JSON, whole or not, or a "problem"."""
    if not there("pytest") or not there("pytest-benchmark"):
        return {"problem": f"{suite}: pytest-benchmark is not installed, so nothing was timed"}
    if seconds < CASE:
        return {"failed": [], "skipped": [f"{suite}: no time left"], "benchmarks": []}
    command = [sys.executable, "-m", "benchmarks.run", "--suite", suite, "--out", str(folder)]
    options = how or ("--device", "cuda")
    code, told = run(
        [*command, f"--until={seconds - CASE:.0f}", *options], seconds - 5, environment
    )
    for path in folder.glob(f"{suite}-*.json"):
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    return {"problem": f"{suite}: {last_line(told)}", "exit_code": code, "output": told[-4000:]}


def together(found: list[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    """All suites as one run, as pytest-benchmark writes one."""
    suites = [kept for kept in found if "benchmarks" in kept]
    lists = {
        name: [each for kept in suites for each in kept[name]]
        for name in ("failed", "skipped", "benchmarks")
    }
    problems = [kept for kept in found if "problem" in kept]
    return {"suite": "gpu", "command": "make gpu", **facts, "problems": problems, **lists}


def tested(tests: dict[str, Any]) -> str:
    """The tests in a line."""
    if "passed" not in tests:
        return f"- tests/gpu: **{tests.get('problem', 'not run')}**"
    line = f"- tests/gpu: {tests['passed']} passed, {tests['failed']} failed, "
    line += f"{tests['skipped']} skipped in {tests['seconds']} s"
    failures = tests["failures"]
    return line + (f"; **failed: {', '.join(failures)}**" if failures else "")


def markdown(kept: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """The report of one run."""
    from benchmarks import report

    head = report.header(kept, "ganfast")
    head[-1:] = [f"- ganfast {kept['install']}", tested(kept["tests"]), ""]
    lines = [*head, *report.left_out(kept)]
    if kept["problems"]:
        lines += ["## Not measured", "", *(f"- {each['problem']}" for each in kept["problems"]), ""]
    for suite in found:
        if suite.get("benchmarks"):
            title, about = report.foreword(suite)
            lines += [f"# {title}", "", report.verdict(suite), "", about, "", *report.body(suite)]
    return "\n".join(lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__.split("\n")[0])
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
    # These import torch: not before we know that there is one.
    from benchmarks import machine, results

    end = time.monotonic() + 60 * options.minutes - SPARE
    # The checkout first, so that what is tested is what lies here, installed or not.
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    facts, load = machine.facts(threads=2, device="cuda"), machine.load()
    print(f"installing for {facts['gpu']}", flush=True)
    installed = install(120.0, environment)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        print("running tests/gpu", flush=True)
        share = TESTS_SHARE * (end - time.monotonic())
        tests = test(share, environment, Path(folder))
        print(tested(tests).removeprefix("- "), flush=True)
        for index, suite in enumerate(SUITES):
            print(f"timing {suite}", flush=True)
            share = LOSSES_SHARE if index == 0 else 1 / (len(SUITES) - index)
            seconds = share * (end - time.monotonic())
            found.append(measure(suite, seconds, environment, Path(folder)))
    kept = together(
        found,
        machine_info=facts,
        date=date.today().isoformat(),
        load_before=load,
        install=installed,
        tests=tests,
    )
    stem = options.out / results.stem(kept)
    results.dump(stem.with_suffix(".json"), kept)
    results.write(stem.with_suffix(".md"), markdown(kept, found))
    print(f"wrote {stem}.md")
    fine = tests.get("exit_code") == 0 and not kept["problems"] and not kept["failed"]
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
