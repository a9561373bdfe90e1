"""`make gpu`: where there is a CUDA GPU, installs ganfast, times the ops, runs the GPU tests.

    python3 -m benchmarks.gpu --out FOLDER

Works in the Python that runs it, because a machine with a GPU usually has a torch chosen for it.
In order of value, within ten minutes: each op once against float64, the benchmarks, the other tests
of tests/gpu, compute-sanitizer. FOLDER/gpu-<name of the GPU>.json and .md are written after every
stage. Where there is no GPU, what is simulated of one runs, and one line says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_OUT = ROOT / "benchmarks" / "results"
MINUTES = 9.5
SPARE = 15.0
"""Seconds kept for writing what was measured."""
SMOKE = "tests/gpu/test_gpu_ops.py"
"""Each op once, by each backend, against float64."""
SMOKE_SECONDS, INSTALL_SECONDS, SANITIZER_SECONDS = 60.0, 60.0, 40.0
"""At most; the last for each tool."""
SUITES_SHARE, LOSSES_SHARE = 0.6, 0.4
"""Of the time that is left, for all suites; and of that, for the losses. Each suite after them gets
an equal part of what is left then, and leaves out what does not fit."""
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


def run(
    command: list[str], seconds: float, environment: dict[str, str], *, show: bool = False
) -> tuple[int, str]:
    """Exit code and output of ``command``; 124 if it took longer than ``seconds``.

    ``show``: its lines are printed as they come.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # its children end with it
        )
    except OSError as error:
        return 127, str(error)
    told: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                told.append(line)
                if show:
                    print(line, end="", flush=True)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    late = False
    try:
        try:
            process.wait(timeout=max(1.0, seconds))
        except subprocess.TimeoutExpired:
            late = True
            process.send_signal(signal.SIGINT)  # pytest then still writes what it has
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(GRACE)
    if late:
        told.append(f"\nstopped after {seconds:.0f} s")
    return (124 if late else process.returncode), "".join(told)


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
    command += ["-p", "benchmarks.gpu_tests", f"--results={log}", "--tb=short"]
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
    """passed, failed, skipped, the names of the failed, and every test, of gpu_tests' lines."""
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
        [*command, f"--until={seconds - CASE:.0f}", *options], seconds - 5, environment, show=True
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
    """A file of tests, or a tool of compute-sanitizer, in a line."""
    line = f"- {tests['target']}: "
    if "passed" in tests:
        line += f"{tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped"
        line += f" in {tests['seconds']} s"
        if tests["failures"]:
            line += f"; **failed: {', '.join(tests['failures'])}**"
        return line + (f"; **{tests['problem']}**" if tests.get("exit_code") == 124 else "")
    if "problem" in tests:
        return line + f"**{tests['problem']}**"
    return line + str(tests.get("summary") or tests.get("skipped"))


def markdown(kept: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """The report of one run."""
    from benchmarks import report

    head = report.header(kept, "ganfast")
    head[-1:] = [f"- ganfast {kept['install']}", *map(tested, kept["tests"]), ""]
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
    with tempfile.TemporaryDirectory() as folder:
        return Run(options, Path(folder)).all()


class Run:
    """The stages on a GPU, in order of value; whatever is known is written after each."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        from benchmarks import machine  # imports torch: not before we know that there is one

        self.out, self.folder = options.out, folder
        self.end = time.monotonic() + 60 * options.minutes - SPARE
        # The checkout first, so that what is tested is what lies here, installed or not.
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        self.facts, self.load = machine.facts(threads=2, device="cuda"), machine.load()
        self.installed = "not installed yet"
        self.suites: list[dict[str, Any]] = []
        self.tests: list[dict[str, Any]] = []

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def all(self) -> int:
        print(f"installing for {self.facts['gpu']}", flush=True)
        self.installed = install(INSTALL_SECONDS, self.environment)
        self.test(SMOKE, SMOKE_SECONDS)
        suites_end = self.end - (1 - SUITES_SHARE) * self.left
        for index, suite in enumerate(SUITES):
            share = LOSSES_SHARE if index == 0 else 1 / (len(SUITES) - index)
            seconds = share * (suites_end - time.monotonic())
            print(f"timing {suite}", flush=True)
            self.suites.append(measure(suite, seconds, self.environment, self.folder))
            self.write()
        files, tools = chunks(), ("memcheck", "racecheck")
        for index, target in enumerate(files):
            seconds = self.left - SANITIZER_SECONDS * len(tools)
            self.test(target, max(seconds / 2, seconds / (len(files) - index)))
        for tool in tools:
            seconds = min(SANITIZER_SECONDS, self.left)
            self.add(sanitize(tool, seconds, self.environment))
        kept, stem = self.write()
        print(f"wrote {stem}.md")
        wrong = [each for each in self.tests if "problem" in each]
        return 1 if wrong or kept["problems"] or kept["failed"] else 0

    def test(self, target: str, seconds: float) -> None:
        print(f"running {target}", flush=True)
        self.add(test(target, min(seconds, self.left), self.environment, self.folder))

    def add(self, found: dict[str, Any]) -> None:
        self.tests.append(found)
        print(tested(found).removeprefix("- "), flush=True)
        self.write()

    def write(self) -> tuple[dict[str, Any], Path]:
        from benchmarks import results

        kept = together(
            self.suites,
            machine_info=self.facts,
            date=date.today().isoformat(),
            load_before=self.load,
            install=self.installed,
            tests=self.tests,
        )
        stem: Path = self.out / results.stem(kept)
        results.dump(stem.with_suffix(".json"), kept)
        results.write(stem.with_suffix(".md"), markdown(kept, self.suites))
        return kept, stem


if __name__ == "__main__":
    sys.exit(main())
