"""What the demo stands on: classifier, figures, words; and the demo itself, cut short."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from ganfast.games import GAMES
from ganfast.train import demo, report, results
from ganfast.train.classifier import TRAINED, train_classifier
from ganfast.train.generator_cost import Vanishing, generator_costs, vanishing_gradients
from ganfast.train.results import Played
from ganfast.train.watch import independent_distance, stopped_at


@pytest.fixture(scope="module")
def classifier():
    return train_classifier()


def test_the_classifier_knows_digits_that_it_never_saw(classifier):
    assert classifier.held_out == 359
    assert classifier.accuracy >= 0.97
    assert classifier.model.features(torch.zeros(2, 1, 8, 8)).shape == (2, 64)
    assert train_classifier() is classifier


def test_the_classifier_is_trained_wherever_it_is_first_asked_for():
    with torch.no_grad():
        assert train_classifier(epochs=1).accuracy > 0.3


def test_generator_costs_are_the_textbooks():
    """Slopes in the logit: in minimax -D, which is flat at D = 0, where D - 1 is steep."""
    d = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    costs = generator_costs(d, ("minimax", "nonsaturating", "maximum_likelihood"))
    expected = {
        "minimax": ((1 - d).log(), -d),
        "nonsaturating": (-d.log(), d - 1),
        "maximum_likelihood": (-d / (1 - d), -d / (1 - d)),
    }
    for game, (cost, slope) in expected.items():
        torch.testing.assert_close(costs[game][0], cost)
        torch.testing.assert_close(costs[game][1], slope)


def test_the_minimax_gradient_vanishes_as_the_critic_gets_ahead():
    games = ("minimax", "nonsaturating")
    steps, d_of_fake, norms = vanishing_gradients(games, critic_steps=50, every=25)
    minimax, nonsaturating = norms["minimax"], norms["nonsaturating"]
    assert steps == [1, 25, 50]
    assert d_of_fake[-1] < 0.2 * d_of_fake[0]
    assert minimax[-1] < 0.2 * minimax[0]
    assert nonsaturating[-1] > 5 * minimax[-1]


def digits_run(row="wgan", number=0, fids=(), distances=(), **judged):
    ten = dict.fromkeys(results.COLUMNS, 0.5) | {"fid": 30.0, "class_kl": 0.01} | judged
    ten = {name: value for name, value in ten.items() if name not in ("modes", "at_mode")}
    lines = [
        {"step": 10 * (i + 1), "fid": fid, "distance": distance, "critic_loss": -float(i)}
        for i, (fid, distance) in enumerate(zip(fids, distances, strict=True))
    ]
    samples = np.zeros((2, 1, 8, 8), np.float32)
    return Played(row, f"{row}-{number}", 100, 12.0, ten, samples, lines)


def ring_run(row, modes, at_mode=0.9):
    judged = {"modes": modes, "at_mode": at_mode}
    return Played(f"ring, {row}", "x", 9, 1.0, judged, np.zeros((2, 2)), [])


def facts_of(found, **changes):
    floors, noise = [digits_run(fid=value).judged for value in (9.0, 11.0)], digits_run(fid=900.0)
    vanishing = Vanishing(
        [1, 9], [0.5, 0.01], {"minimax": [2.0, 0.01], "nonsaturating": [1.0, 4.0]}
    )
    facts = results.Facts(floors, noise.judged, found, vanishing, train_classifier(), 0, 60.0)
    return dataclasses.replace(facts, **changes)


def test_the_table_is_aligned():
    lines = [
        results.line("noise", [digits_run(fid=961.07).judged], []),
        results.line("nonsaturating", [digits_run().judged, digits_run(fid=8.0).judged], [2, 3]),
    ]
    assert {len(line) for line in lines} == {len(results.HEADER)}


def test_what_is_said_of_the_ring_is_what_was_seen():
    points = {
        "minimax": [ring_run("minimax", n) for n in (1, 2, 4)],
        "minimax + R1": [ring_run("minimax + R1", n) for n in (8, 7, 8)],
        "hinge": [ring_run("hinge", n) for n in (3, 8, 8)],
        "wgan": [ring_run("wgan", n, 0.1) for n in (0, 1, 0)],
    }
    text = report._collapse(points)
    assert "are missing in every seed of minimax." in text
    assert "found in every seed of minimax + R1." in text
    assert "missing, in hinge." in text
    assert "at any mode in wgan: no collapse" in text
    assert "With R1, and nothing else changed, minimax finds them" in text
    points["minimax + R1"] = points["minimax"]
    assert "With R1" not in report._collapse(points) and "At least" not in report._collapse(points)


def test_what_is_said_of_the_digits_is_what_was_seen():
    found = {
        "wgan": [digits_run("wgan", i, fid=30.0 + i) for i in range(3)],
        "hinge": [digits_run("hinge", i, fid=20.0 + 8 * i) for i in range(3)],
        "minimax": [digits_run("minimax", i, fid=400.0, class_kl=1.0) for i in range(3)],
    }
    text = report._compared(facts_of(found))
    assert "By mean FID: hinge, wgan, minimax." in text
    assert "between wgan and minimax; other" in text  # of hinge one seed is worse than all of wgan
    assert "Real digits have FID 10.0; the worst run is at 40.0 times that." in text
    assert "**Failed**: minimax." in text
    assert "50% to 50%" in text and "as uneven as that, in minimax." in text
    del found["minimax"]
    text = report._compared(facts_of(found))
    assert "No two neighbours" in text and "Failed" not in text and "No class is missing" in text


def test_what_is_said_of_stopping_is_what_was_seen():
    falls = digits_run("wgan", fids=[9, 8, 7, 6, 5], distances=[5, 4, 3, 2, 1])
    turns = digits_run("turns", fids=[9, 5, 3, 4, 6, 8, 9], distances=[9, 5, 2, 4, 6, 8, 9])
    text = report._stopping([falls, turns])
    assert "| wgan | 1.00 | - | 1.00 | never | step 50 | 5 | 5 at step 50 | 5 at step 50 |" in text
    assert "in wgan and turns" in text
    stop, best = stopped_at([9, 5, 2, 4, 6, 8, 9], report.PATIENCE)
    assert stop is not None and f"would have saved {1 - (stop + 1) / 7:.0%} of the steps" in text
    assert f"kept FID {[9, 5, 3, 4, 6, 8, 9][best]}, where the end has 9." in text
    wrong = digits_run("wrong", fids=[9, 8, 7], distances=[1, 2, 3])
    assert "It is less sure of that in wrong." in report._stopping([wrong])


def short(row):
    return demo.Row(row.name, {**row.settings, "steps": 10, "width": 8})


@pytest.fixture
def short_demo(monkeypatch):
    """Of few steps, of the games and of the critic that measures. A run's losses.png is empty:
    those of other tests show what is in it, and these would take most of the time."""
    monkeypatch.setattr(demo, "RING", tuple(map(short, demo.RING)))
    monkeypatch.setattr(demo, "DIGITS", tuple(map(short, demo.DIGITS)))
    row = short(demo.OVERFITTING)
    row = demo.Row(row.name, {**row.settings, "watch_every": 5, "log_every": 5})
    monkeypatch.setattr(demo, "OVERFITTING", row)
    monkeypatch.setattr(demo, "SEEDS", 2)
    monkeypatch.setattr(demo, "EVALUATIONS", 2)
    vanishing = functools.partial(demo.vanishing_gradients, critic_steps=50)
    monkeypatch.setattr(demo, "vanishing_gradients", vanishing)
    few = functools.partial(independent_distance, steps=5)
    monkeypatch.setattr("ganfast.train.watch.judge.independent_distance", few)
    monkeypatch.setattr(demo.pictures, "save_log", lambda path, lines, title: path.touch())


@pytest.mark.slow
def test_a_short_demo_shows_everything(tmp_path, capsys, short_demo):
    stale = tmp_path / "wgan-0" / "samples" / "009999.png"  # of an earlier, longer demo
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    (tmp_path / "wgan-0" / "checkpoint.safetensors").write_bytes(b"")
    found = demo.run_demo(tmp_path, seed=1, workers=1)
    rows = (demo.OVERFITTING, *demo.DIGITS, *demo.RING)
    assert list(found) == [row.name for row in rows]
    assert all(len(found[row.name]) == 2 for row in rows[1:])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == results.HEADER and len(shown) == len(rows) + 4
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    pictures = [part.partition(")")[0] for part in text.split("](")[1:]]
    pictures = [name for name in pictures if name.endswith(".png")]
    assert len(pictures) == 5 + 2 * len(demo.DIGITS)
    assert all((tmp_path / name).is_file() for name in pictures)
    assert all(game.f_gen in text and game.paper in text for game in GAMES.values())
    assert not stale.exists()


@pytest.mark.slow
def test_a_process_of_the_demo_plays_as_this_one(tmp_path, short_demo, monkeypatch):
    """With the same eyes, too: it is handed the classifier, here one that it would not train."""
    monkeypatch.setitem(TRAINED, (0, 25), train_classifier(epochs=1))
    monkeypatch.setattr(demo, "eyes", functools.cache(demo.eyes.__wrapped__))
    (job,) = (job for job in demo.jobs_of(tmp_path, 1) if job.config.out.endswith("wgan-1"))
    with demo.player(2) as plays:
        (there,) = plays([job])
    here = demo.play(job)
    assert np.array_equal(here.samples, there.samples) and here.judged == there.judged


# As `python -m ganfast`, without what takes most of the time: the classifier is hardly trained, and
# losses.png not drawn (the processes of the demo begin by what stands above their parent's main).
QUICK = """
import sys
from ganfast import cli
from ganfast.train import classifier, pictures

pictures.save_log = lambda *_: None
if __name__ == "__main__":
    classifier.TRAINED[0, 25] = classifier.train_classifier(epochs=1)
    sys.exit(cli.main())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="groups of processes, and their signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_interrupted_keeps_its_runs(tmp_path, number, code):
    (tmp_path / "quick.py").write_text(QUICK)
    program = ["-m", "ganfast"] if number == signal.SIGINT else [str(tmp_path / "quick.py")]
    command = [sys.executable, *program, "demo", "--out", str(tmp_path)]
    demo_process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while len(logs := list(tmp_path.glob("*/log.jsonl"))) < 2:
        assert demo_process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    if number == signal.SIGINT:
        os.killpg(demo_process.pid, number)  # as a terminal does
    else:
        demo_process.send_signal(number)
    _, err = demo_process.communicate(timeout=300)
    assert demo_process.returncode == code, err
    assert len(err.splitlines()) == 1 and "Traceback" not in err
    assert all((log.parent / "checkpoint.safetensors").is_file() for log in logs)
