"""Commands run in this process, with the evaluation replaced by a result that is known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ganfast import cli, metrics

RESULT = {
    "fid": 12.5,
    "mean_term": 4.25,
    "covariance_term": 8.25,
    "n_real": 50_000,
    "n_fake": 512,
    "inception_score_mean": 9.5,
    "inception_score_std": 0.25,
    "kid_mean": None,
    "kid_std": None,
    "prdc_precision": None,
    "prdc_recall": None,
    "prdc_density": None,
    "prdc_coverage": None,
    "prdc_n_real": None,
    "prdc_n_fake": None,
    "fid_interval": None,
    "fid_infinity": None,
    "fid_infinity_error": None,
    "protocol": "pytorch-fid",
    "extractor": "inception",
    "precision": "fp32",
    "skipped": [],
    "notes": [],
    "images_per_second": 123.4,
    "seconds": 409.3,
    "stages": {"decode": 1.5, "network": 400.0},
}


@pytest.fixture
def result() -> dict[str, Any]:
    """What the evaluation returns."""
    return dict(RESULT)


@pytest.fixture
def call(capsys) -> Callable[..., tuple[int, str, str]]:
    """Run one command line: exit code, stdout, stderr."""

    def run(*argv: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(word) for word in argv])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def sides(tmp_path) -> tuple[str, str]:
    """Two folders; nothing looks into them."""
    folders = tmp_path / "real", tmp_path / "fake"
    for folder in folders:
        folder.mkdir()
    return str(folders[0]), str(folders[1])


@pytest.fixture
def evaluation(monkeypatch) -> SimpleNamespace:
    """In place of ganfast.metrics.evaluate: ``calls`` are what it was given, and it returns
    RESULT with ``changes``, or raises ``error``."""
    seen = SimpleNamespace(calls=[], changes={}, error=None)

    def evaluate(real: Any, fake: Any, **given: Any) -> dict[str, Any]:
        seen.calls.append((real, fake, given))
        if seen.error is not None:
            raise seen.error
        return {**RESULT, "precision": given["precision"], **seen.changes}

    monkeypatch.setattr(metrics, "evaluate", evaluate)
    return seen
