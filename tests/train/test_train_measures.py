"""What samples are judged by: each row of MEASURES, on sets for which the answer is known."""

import functools
import math

import pytest
import torch

from ganfast.errors import InputError
from ganfast.linalg import frechet_distance
from ganfast.metrics import inception_score, manifold_metrics, moments
from ganfast.train import TrainConfig, train
from ganfast.train.data import digits, digits_and_labels, ring
from ganfast.train.run import new_trainer
from ganfast.train.watch import MEASURES, Judge, Sets, independent_distance, seen_by, slope
from ganfast.train.watch.measures import measure

NAMES = [name for row in MEASURES for name in row.names]


def sets_of(real, fake, real_classes=None, fake_classes=None):
    def logits(classes):
        return None if classes is None else torch.eye(10)[classes] * 20

    return Sets(real, fake, logits(real_classes), logits(fake_classes), True)


@pytest.fixture(scope="module")
def digits_seen():
    return seen_by("digits")


def test_rows_are_what_metrics_say():
    real, fake = torch.randn(60, 5), torch.randn(60, 5) + 0.3
    classes = torch.arange(60) % 10
    found = measure(sets_of(real, fake, classes, classes.roll(7)))
    assert list(found) == NAMES
    manifold = manifold_metrics(real, fake)
    for name in ("precision", "recall", "density", "coverage"):
        assert found[name] == getattr(manifold, name)
    assert found["fid"] == pytest.approx(float(frechet_distance(*moments(real), *moments(fake))))
    assert found["inception_score"] == pytest.approx(
        inception_score(torch.eye(10)[classes.roll(7)] * 20, splits=1)[0]
    )
    assert found["class_kl"] == pytest.approx(0, abs=1e-12)


def test_the_classes_that_are_missing():
    rows, classes = torch.randn(60, 2), torch.arange(60) % 10
    for some in (1, 5):  # all samples in so many of ten equal classes: log of ten over that
        found = measure(sets_of(rows, rows, classes, torch.arange(60) % some))
        assert found["class_kl"] == pytest.approx(math.log(10 / some))
    # a class that is not among the held-out ones is far from them, and still a number
    found = measure(sets_of(rows, rows, classes.clamp_max(8), torch.full((60,), 9)))
    assert found["class_kl"] == pytest.approx(math.log(120))


def test_what_is_far_from_all_that_is_real():
    real = torch.arange(100.0).unsqueeze(1)  # each is 1 from the next
    fake = torch.cat([real[:60] + 0.5, real[:40] + 1000.0])
    assert measure(sets_of(real, fake))["far"] == 0.4
    assert measure(sets_of(real, real))["far"] == 0.0


def test_without_a_network_there_is_no_fid_and_without_classes_no_score():
    points = torch.randn(50, 2)
    found = Judge(points)(points + 0.1)
    assert set(NAMES) - set(found) == {"fid", "inception_score", "class_kl"}


def test_the_judge_knows_the_problems_of_the_chapter(digits_seen):
    """Held-out digits are learned ones again; a collapsed set covers little and is precise; one
    between two digits lies where no digit is."""
    source = digits()
    judge = Judge(source.held_out.all(), digits_seen)
    learned, labels = source.train.first(judge.count), digits_and_labels()[1]
    ones = source.all()[labels == 1].repeat(3, 1, 1, 1)[: judge.count]
    between = (learned + learned.roll(1, 0)) / 2
    random = torch.Generator().manual_seed(0)
    noise = torch.rand(learned.shape, generator=random) * 2 - 1
    real, collapsed, blend, wild = (judge(images) for images in (learned, ones, between, noise))
    assert real["precision"] > 0.9 and real["coverage"] > 0.9 and real["far"] < 0.1
    assert real["class_kl"] < 0.05 and real["inception_score"] > 8.5
    assert collapsed["class_kl"] > 2 and collapsed["coverage"] < 0.2 < 0.9 < collapsed["precision"]
    assert blend["far"] > real["far"] + 0.2 and blend["precision"] < real["precision"] - 0.15
    assert real["fid"] < blend["fid"] < wild["fid"] and collapsed["fid"] > 10 * real["fid"]
    assert wild["inception_score"] < 6 and wild["far"] > 0.9


def test_the_judge_sees_what_a_file_would_hold(digits_seen):
    source = digits()
    judge = Judge(source.held_out.all(), digits_seen)
    samples = source.train.first(judge.count)
    assert judge(samples) == judge(samples + 1e-4)  # within a 256th
    grey = digits_seen(samples[:3])
    colour = digits_seen(samples[:3].expand(-1, 3, -1, -1))
    assert all(torch.equal(one, other) for one, other in zip(grey, colour, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_samples_that_are_no_longer_finite_are_nan(bad):
    points = torch.randn(50, 2)
    broken = points.clone()
    broken[3, 1] = bad
    found = Judge(points)(broken)
    assert found.keys() == Judge(points)(points).keys()
    assert all(math.isnan(value) for value in found.values())


def test_the_slope_of_a_critic():
    critic = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False), torch.nn.Flatten(0))
    critic[0].weight.data = torch.tensor([[3.0, 4.0]])
    assert slope(critic, torch.randn(6, 2))["critic_slope"] == pytest.approx(5)


def test_the_share_of_zeros_in_the_gradient():
    """Of d score / d x: relu has them where max pooling or a lost unit keeps x out of the score."""
    x = torch.tensor([[1.0, -1.0, 2.0, -3.0], [1.0, 1.0, 1.0, -1.0]])
    flatten, nn = torch.nn.Flatten(0), torch.nn
    shares = [
        slope(nn.Sequential(layer, flatten), samples)["zero_gradient"]
        for layer, samples in ((nn.ReLU(), x), (nn.MaxPool1d(2), x[:1]), (nn.LeakyReLU(0.2), x))
    ]
    assert shares == [3 / 8, 1 / 2, 0]


def test_the_slope_is_found_without_a_trace():
    config = TrainConfig(game="hinge", norm_d="spectral", norm_g="batch", width=8, data="ring")
    trainer = new_trainer(config, ring())
    before = {name: t.clone() for name, t in trainer.critic.state_dict().items()}
    slope(trainer.critic, trainer.source.first(8))
    after = trainer.critic.state_dict()
    assert all(torch.equal(after[name], t) for name, t in before.items())
    assert trainer.critic.training
    trainer.critic[0].eval()
    slope(trainer.critic, trainer.source.first(8))
    assert trainer.critic.training and not trainer.critic[0].training
    with pytest.raises(RuntimeError):
        slope(trainer.critic, torch.randn(8, 3))
    assert trainer.critic.training


def test_a_run_logs_what_its_samples_are_judged_by(tmp_path, monkeypatch):
    small = {"width": 4, "batch_size": 16, "steps": 4, "log_every": 4, "watch_every": 4}
    few = functools.partial(independent_distance, steps=2)
    monkeypatch.setattr("ganfast.train.watch.judge.independent_distance", few)
    line = train(TrainConfig(out=tmp_path / "digits", **small)).lines[-1]
    assert set(NAMES) < set(line) and {"critic_slope", "generator_gradient"} < set(line)
    points = train(TrainConfig(out=tmp_path / "ring", data="ring", **small)).lines[-1]
    assert {"precision", "coverage", "far", "modes", "at_mode"} < set(points)
    assert "fid" not in points
    (tmp_path / "eyes.py").write_text(
        "import torch\n\n\ndef eyes():\n"
        "    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 6))\n"
        "    network.input_size = 8\n    return network\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = TrainConfig(out=tmp_path / "own", watch_with="eyes:eyes", **small)
    images = torch.randint(0, 256, (80, 1, 8, 8), dtype=torch.uint8)
    line = train(own, source=images).lines[-1]
    assert "fid" in line and "class_kl" not in line


def test_what_cannot_judge_is_refused(tmp_path):
    with pytest.raises(InputError, match="^watch_with: got 'digits' without measurements"):
        TrainConfig(watch_with="digits")
    with pytest.raises(InputError, match="^watch_with: got 'digit'; give one of inception, digits"):
        TrainConfig(watch_with="digit", watch_every=5)
    config = TrainConfig(data="ring", watch_every=2, watch_with="digits", out=tmp_path)
    with pytest.raises(InputError, match="^watch_with: got 'digits' for points"):
        train(config)
