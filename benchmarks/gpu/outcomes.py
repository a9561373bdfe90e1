"""A plugin of pytest for `make gpu`: a line of JSON for each test as soon as it is over, so that a
run which is cut keeps what it knew. ``pytest -p benchmarks.gpu.outcomes --results FILE``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", type=Path, help="where to add a line for each test")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--results")
    if path is not None and not hasattr(config, "workerinput"):  # xdist's workers tell the first
        config.pluginmanager.register(_Writer(path))


class _Writer:
    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self._add(report.nodeid, report.outcome, report.duration, report.longreprtext)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._add(report.nodeid, "failed", 0.0, report.longreprtext)

    def _add(self, name: str, outcome: str, seconds: float, why: str) -> None:
        told: dict[str, Any] = {"test": name, "outcome": outcome, "seconds": round(seconds, 3)}
        if outcome == "failed":
            told["why"] = why[-2000:]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
