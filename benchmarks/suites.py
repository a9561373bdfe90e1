"""The suites by name, and the page that renders each."""

from __future__ import annotations

import importlib
from types import ModuleType

SUITES = ("losses", "linalg", "penalty", "optim", "steps", "fid")
"""Each is benchmarks/bench_<name>.py; its docstring is title and foreword of the report."""


def page_of(suite: str) -> ModuleType:
    """told, verdict, body, legend and png of the suite's report."""
    if suite == "losses":
        return importlib.import_module("benchmarks.losses.page")
    return importlib.import_module("benchmarks.page")
