"""Every file of examples/: short, runs as it stands, and comes to its last line."""

from __future__ import annotations

import runpy
import sys

import pytest

from ganfast._csrc_path import csrc_dir

FOLDER = csrc_dir().parent / "examples"
LAST_WORDS = {
    "dcgan": ("--steps 20", "wrote dcgan.png"),
    "wgan_gp": ("--steps 3", "of 8 modes"),
    "r3gan": ("--steps 3", "of 25 modes"),
    "vqgan_adversarial": ("--steps 3", "weight"),
    "report": ("--images 40", "95 % interval"),
    "fid_in_loop": ("--steps 6 --every 3", "FID of digits"),
}


def test_every_example_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(LAST_WORDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAST_WORDS)
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    for module in ("sklearn", "PIL"):
        pytest.importorskip(module)
    arguments, words = LAST_WORDS[name]
    path = FOLDER / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))  # as for a script
    monkeypatch.setattr(sys, "argv", [str(path), *arguments.split()])
    runpy.run_path(str(path), run_name="__main__")
    assert words in capsys.readouterr().out.splitlines()[-1]
