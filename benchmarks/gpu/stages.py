"""The stages on a GPU, in order of value; whatever is known is written after each."""

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import machine, results
from benchmarks.gpu import checks, commands, suites, writing

SPARE = 15.0
"""Seconds kept for writing what was measured."""
SMOKE_SECONDS, INSTALL_SECONDS, SANITIZER_SECONDS = 60.0, 60.0, 35.0
"""At most; the last for each tool."""


class Stages:
    """One run: ``out`` is where its files go, ``folder`` one that is gone afterwards."""

    def __init__(self, out: Path, seconds: float, folder: Path) -> None:
        self.out, self.folder = out, folder
        self.end = time.monotonic() + seconds - SPARE
        # The checkout first, so that what is tested is what lies here, installed or not.
        path = [str(commands.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        self.facts, self.load = machine.facts(threads=2, device="cuda"), machine.load()
        self.installed = "not installed yet"
        self.suites: list[dict[str, Any]] = []
        self.tests: list[dict[str, Any]] = []

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def all(self) -> int:
        """The exit code."""
        print(f"installing for {self.facts['gpu']}", flush=True)
        self.installed = commands.install(INSTALL_SECONDS, self.environment)
        self.test(checks.SMOKE, SMOKE_SECONDS)
        self.time_suites()
        files = checks.chunks()
        for index, target in enumerate(files):
            seconds = self.left - SANITIZER_SECONDS * len(checks.TOOLS)
            self.test(target, max(seconds / 2, seconds / (len(files) - index)))
        for tool in checks.TOOLS:
            seconds = min(SANITIZER_SECONDS, self.left)
            self.add(checks.sanitize(tool, seconds, self.environment))
        kept, stem = self.write()
        print(f"wrote {stem}.md")
        wrong = [each for each in self.tests if "problem" in each]
        return 1 if wrong or kept["problems"] or kept["failed"] else 0

    def time_suites(self) -> None:
        end = time.monotonic() + suites.SHARE * self.left
        for suite in suites.SUITES:
            seconds = suites.room(suite, end - time.monotonic())
            print(f"timing {suite}", flush=True)
            self.suites.append(suites.measure(suite, seconds, self.environment, self.folder))
            self.write()

    def test(self, target: str, seconds: float) -> None:
        print(f"running {target}", flush=True)
        self.add(checks.test(target, min(seconds, self.left), self.environment, self.folder))

    def add(self, found: dict[str, Any]) -> None:
        self.tests.append(found)
        print(writing.tested(found).removeprefix("- "), flush=True)
        self.write()

    def write(self) -> tuple[dict[str, Any], Path]:
        kept = writing.together(
            self.suites,
            machine_info=self.facts,
            date=date.today().isoformat(),
            load_before=self.load,
            install=self.installed,
            tests=self.tests,
        )
        stem: Path = self.out / results.stem(kept)
        results.dump(stem.with_suffix(".json"), kept)
        results.write(stem.with_suffix(".md"), writing.markdown(kept, self.suites))
        return kept, stem
