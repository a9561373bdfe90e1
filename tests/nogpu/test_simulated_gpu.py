"""Runs a part of the suites on the simulated GPU; ``make simulate`` runs the whole."""

import os
import re
import subprocess

import pytest

from testing.simulated_gpu import suites


@pytest.mark.slow
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


def test_every_mutant_still_has_its_line(tmp_path):
    """Whether a test notices them is what ``make mutate`` asks."""
    from tests import mutate

    found = list(mutate.mutants())
    assert len({each.name for each in found}) == len(found) > 20
    for mutant in found:
        (tmp_path / mutant.file).parent.mkdir(parents=True, exist_ok=True)
        before = (suites.ROOT / mutant.file).read_text()
        (tmp_path / mutant.file).write_text(before)
        mutant.apply(tmp_path)
        assert (tmp_path / mutant.file).read_text() != before
