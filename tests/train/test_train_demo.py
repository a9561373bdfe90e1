"""What the demo stands on: classifier, judge, figures; and the demo itself, cut short."""

import functools

import pytest
import torch

from ganfast.train import demo, report
from ganfast.train.classifier import Judge, Score, train_classifier
from ganfast.train.data import digits
from ganfast.train.generator_cost import generator_costs, vanishing_gradients


@pytest.fixture(scope="module")
def classifier():
    return train_classifier()


def test_the_classifier_knows_digits_that_it_never_saw(classifier):
    assert classifier.held_out == 359
    assert classifier.accuracy >= 0.97
    assert classifier.model.features(torch.zeros(2, 1, 8, 8)).shape == (2, 64)


def test_the_judge_orders_real_blurred_collapsed_and_noise(classifier):
    judge = Judge(classifier.model, digits())
    random = torch.Generator().manual_seed(0)
    floor = judge(judge.floor)
    noisy = judge(judge.floor + 0.3 * torch.randn(judge.floor.shape, generator=random))
    noise = judge(torch.rand(judge.floor.shape, generator=random) * 2 - 1)
    one_digit = judge(judge.floor[:1].repeat(judge.count, 1, 1, 1))
    assert floor.fid < noisy.fid < noise.fid
    assert floor.score > 8.5 and noise.score < 6
    assert one_digit.score == pytest.approx(1)
    assert one_digit.fid > 10 * floor.fid


def test_generator_costs_are_the_textbooks():
    d = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    costs = generator_costs(d, ("minimax", "nonsaturating", "maximum_likelihood"))
    expected = {
        "minimax": ((1 - d).log(), -1 / (1 - d)),
        "nonsaturating": (-d.log(), -1 / d),
        "maximum_likelihood": (-d / (1 - d), -1 / (1 - d) ** 2),
    }
    for game, (cost, slope) in expected.items():
        torch.testing.assert_close(costs[game][0], cost)
        torch.testing.assert_close(costs[game][1], slope)


def test_the_minimax_gradient_vanishes_as_the_critic_gets_ahead():
    games = ("minimax", "nonsaturating")
    steps, norms = vanishing_gradients(games, critic_steps=50, every=25)
    minimax, nonsaturating = norms["minimax"], norms["nonsaturating"]
    assert steps == [1, 25, 50]
    assert minimax[-1] < 0.2 * minimax[0]
    assert nonsaturating[-1] > 5 * minimax[-1]


def test_the_table_is_aligned():
    rows = [
        report.Row("noise", None, Score(961.07, 4.1, 0.2)),
        report.Row("nonsaturating", 23.4, Score(19.7, 8.18, 0.3)),
    ]
    assert {len(row.line()) for row in rows} == {len(report.HEADER)}


@pytest.mark.slow
def test_a_short_demo_shows_everything(tmp_path, capsys, monkeypatch, classifier):
    monkeypatch.setattr(demo, "STEPS", dict.fromkeys(demo.STEPS, 30))
    monkeypatch.setattr(demo, "train_classifier", lambda *, seed: classifier)
    vanishing = functools.partial(demo.vanishing_gradients, critic_steps=50)
    monkeypatch.setattr(demo, "vanishing_gradients", vanishing)
    stale = tmp_path / "wgan" / "samples" / "009999.png"  # of an earlier, longer demo
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    (tmp_path / "wgan" / "checkpoint.safetensors").write_bytes(b"")
    rows = demo.run_demo(tmp_path, seed=1)
    assert [row.name for row in rows] == ["real digits", "noise", *demo.STEPS]
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == report.HEADER and len(shown) == len(rows) + 2
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    pictures = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert len(pictures) == 12
    assert all((tmp_path / name).is_file() for name in pictures)
    assert "nan" not in text
    assert not stale.exists()
