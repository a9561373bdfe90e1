"""The projects come and go: each test leaves the loaded modules as it found them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import scipy.linalg
from compat_fakes import DISTRIBUTIONS, install

import ganfast.compat


def of_the_projects() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in DISTRIBUTIONS]


@pytest.fixture(autouse=True)
def unpatched() -> Iterator[None]:
    yield
    ganfast.compat.unpatch()


@pytest.fixture
def fakes(unpatched: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the stand-ins, importable in place of whatever is installed."""
    real = {name: sys.modules.pop(name) for name in of_the_projects()}
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # tests rewrite the sources
    yield tmp_path
    ganfast.compat.unpatch()
    for name in of_the_projects():
        del sys.modules[name]
    sys.modules.update(real)


@pytest.fixture
def scipy_1_18(monkeypatch: pytest.MonkeyPatch) -> None:
    """``scipy.linalg.sqrtm`` without ``disp``, as from SciPy 1.18."""
    now = scipy.linalg.sqrtm

    def sqrtm(A):
        return now(A)

    sqrtm.__module__ = now.__module__
    monkeypatch.setattr(scipy.linalg, "sqrtm", sqrtm)
