"""Runs a part of the suites on the simulated GPU; ``make simulate`` runs the whole."""

import os
import re
import subprocess

import pytest

from testing.simulated_gpu import suites


def test_a_part_of_the_suites():
    if reason := suites.unavailable():
        # What prepares a change for being accepted must not be without it.
        (pytest.fail if os.environ.get("GANFAST_REQUIRE_SIM") == "1" else pytest.skip)(reason)
    run = suites.run(["-q", *suites.PART], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode != 0:
        pytest.fail(f"on the simulated GPU:\n{run.stdout[-8000:]}", pytrace=False)
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 400, run.stdout


def test_nothing_is_left_out_by_mistake():
    """A reason for not simulating a test that is gone, or has another name, hides nothing."""
    for piece in suites.NOT_SIMULATED:
        file, name = piece.split("::")
        texts = [path.read_text() for path in (suites.ROOT / "tests").rglob(file)]
        wanted = name.split("[")[0]
        assert any(f"def {wanted}" in text for text in texts), piece


def test_a_missing_simulator_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(suites, "FOLDER", tmp_path)
    assert "no triton and ttsem" in suites.unavailable()
