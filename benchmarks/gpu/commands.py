"""Other programs: run with a limit, and installed for."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GRACE = 10.0
"""Seconds in which a command that is stopped may still write what it has."""


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


def there(package: str) -> bool:
    return importlib.util.find_spec(package.replace("-", "_")) is not None


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
