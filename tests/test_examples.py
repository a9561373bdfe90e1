"""Every file of examples/: short, runs as it stands, and comes to its last line."""

from __future__ import annotations

import runpy
import sys

import pytest
from helpers import pair

from ganfast._csrc_path import csrc_dir

FOLDER = csrc_dir().parent / "examples"
LAST_WORDS = {
    "dcgan": ("--steps 20", "wrote dcgan.png"),
    "wgan_gp": ("--steps 3", "of 8 modes"),
    "r3gan": ("--steps 3", "of 25 modes"),
    "vqgan_adversarial": ("--steps 3", "weight"),
    "report": ("--images 40", "95 % interval"),
    "fid_in_loop": ("--steps 6 --every 3", "FID of digits"),
    "lightning_fid": ("--epochs 1", "FID of digits"),
    "accelerate_fid": ("--epochs 1 --generated 200", "epoch 0: FID of digits"),
}
NEEDS = {"lightning_fid": ("torchmetrics", "lightning"), "accelerate_fid": ("accelerate",)}


def test_every_example_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(LAST_WORDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        # A framework's own warnings are no fault of the example.
        pytest.param(name, marks=pytest.mark.filterwarnings("default") if name in NEEDS else ())
        for name in LAST_WORDS
    ],
)
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    for module in ("sklearn", "PIL", *NEEDS.get(name, ())):
        pytest.importorskip(module)
    arguments, words = LAST_WORDS[name]
    path = FOLDER / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))  # as for a script
    monkeypatch.setattr(sys, "argv", [str(path), *arguments.split()])
    runpy.run_path(str(path), run_name="__main__")
    assert words in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.slow
def test_accelerate_with_two_processes():
    for module in ("sklearn", "accelerate"):
        pytest.importorskip(module)
    done = pair([str(FOLDER / "accelerate_fid.py"), *LAST_WORDS["accelerate_fid"][0].split()])
    assert [code for code, _, _ in done] == [0, 0], done
    (_, said, _), (_, silent, _) = done
    assert LAST_WORDS["accelerate_fid"][1] in said and silent == ""
