"""Training by ``--capture``: the steps one by one, their log and their random numbers."""

import copy
import dataclasses
import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ganfast.errors import InputError
from ganfast.train import TrainConfig, Trainer, checkpoint, train
from ganfast.train.data import digits, ring
from ganfast.train.recipe import CHAPTER, PENALTIES, Penalty
from ganfast.train.run import new_trainer
from ganfast.train.speed import Speed

SMALL = {"data": "ring", "width": 2, "norm_g": "none", "batch_size": 8, "pretraining": 0}
SMALL["device"] = "cuda"


def trainer_of(source=ring, networks=None, **settings):
    config = TrainConfig(**{**SMALL, **settings})
    return new_trainer(config, source(), **(networks or {}))


def state_of(trainer):
    return {name: x.clone() for name, x in checkpoint.state_of(trainer)[0].items()}


def same(one, two):
    """All that the next step depends on, the sums of the log with it."""
    mine, other = state_of(one), state_of(two)
    assert mine.keys() == other.keys()
    assert one.meter.counts == two.meter.counts
    for name, x in mine.items():
        torch.testing.assert_close(
            x.float(), other[name].float(), rtol=1e-4, atol=1e-5,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


@functools.cache
def both(**settings):
    pair = trainer_of(**settings), trainer_of(**settings, capture=True)
    before = state_of(pair[1])
    for trainer in pair:
        for _ in range(3):
            trainer.step()
    after = state_of(pair[1])
    for player in ("generator", "critic"):  # both have learned something
        names = [name for name in before if name.startswith(f"{player}.")]
        assert not all(torch.equal(before[name], after[name]) for name in names)
    return pair


@pytest.mark.parametrize("game", CHAPTER)
def test_captured_steps_are_those_one_by_one(game):
    # Before batch norm a bias has no gradient but round-off, which Adam makes whole steps of.
    norm_d = CHAPTER[game].norm_d.replace("batch", "none")
    same(*both(game=game, norm_d=norm_d))


@pytest.mark.parametrize(
    "settings",
    [
        {"game": "hinge", "norm_d": "none", "penalty": "r1", "penalty_every": 2},
        {"game": "wgan-gp", "penalty_every": 2, "n_critic": 2},
        {"game": "relativistic", "preset": "r3gan", "steps": 4},  # its rate decays
        {"game": "minimax", "norm_d": "none", "label_noise": 0.1, "label_flip": 0.1},
        {"game": "wgan-gp", "merge": True, "n_critic": 1},
    ],
    ids=["lazy r1", "lazy penalty", "decay", "labels", "merge"],
)
def test_what_changes_from_step_to_step(settings):
    same(*both(**settings))


def test_lazy_penalties_have_two_graphs():
    _, captured = both(game="hinge", norm_d="none", penalty="r1", penalty_every=2)
    counts = captured.meter.counts
    assert counts["critic_loss"] > counts[PENALTIES["r1"].logged] > 0


def test_penalties_that_take_turns():
    """Some of their sets are first due, and captured, in the middle of training."""
    one = trainer_of(game="hinge", norm_d="none", n_critic=3, penalty="r1", penalty_every=2)
    rows = *one.recipe.penalties, Penalty("r2", 0.1, every=3)
    recipe, pair = dataclasses.replace(one.recipe, penalties=rows), []
    for capture in (False, True):
        networks = copy.deepcopy((one.generator, one.critic))
        speed = Speed(capture=capture)
        pair.append(Trainer(*networks, one.source, recipe, device="cuda", speed=speed))
        pair[-1].step(), pair[-1].step()
    same(*pair)
    assert len(pair[1].graphs._captured) == 5


def test_batch_norm_of_images():
    same(
        *both(
            source=digits,
            game="nonsaturating",
            data="digits",
            norm_g="batch",
            width=1,
            batch_size=4,
        )
    )


@pytest.mark.parametrize("taken_over", [False, True], ids=["captured", "steps one by one"])
def test_a_run_goes_on_from_a_checkpoint(taken_over):
    """Into a trainer that has captured before, as in a rollback, or one whose counters of steps
    were on the host."""
    settings = {"game": "wgan-gp", "n_critic": 1}
    trainer = trainer_of(**settings, capture=not taken_over)
    trainer.step()
    tensors, facts = copy.deepcopy(checkpoint.state_of(trainer))
    trainer.step()
    other = trainer_of(**settings, capture=True, seed=1)
    other.step()
    checkpoint.restore(other, tensors, facts)
    other.step()
    same(trainer, other)


def test_draws_between_the_steps_are_not_repeated():
    """A captured step continues the trainer's own random numbers."""
    one, two = (trainer_of(game="wgan-gp", n_critic=1, capture=on) for on in (False, True))
    for trainer in (one, two):
        trainer.step()
        trainer.noise(5)
        torch.manual_seed(7)  # as a classifier does that is trained meanwhile
        trainer.step()
    same(one, two)


def test_a_run_and_its_resumption(tmp_path):
    """``train`` from end to end; the second half in steps one by one."""
    runs = []
    settings = {**SMALL, "game": "wgan-gp", "n_critic": 1, "log_every": 2, "sample_every": 0}
    for name, (first, second) in {"one": (False, False), "two": (True, False)}.items():
        out = tmp_path / name
        train(TrainConfig(**settings, steps=2, out=out, capture=first))
        runs.append(train(TrainConfig(**settings, steps=4, out=out, resume=out, capture=second)))
    same(*(run.trainer for run in runs))
    for mine, other in zip(*(run.lines for run in runs), strict=True):
        assert mine == pytest.approx(other, rel=1e-3, abs=1e-4)


class ReadsANumber(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        scores = self.layer(x).flatten()
        return scores / (1 + scores.sum().abs().item())


def test_a_network_that_cannot_be_captured_is_told_before_training():
    trainer = trainer_of(
        game="hinge", norm_d="none", capture=True, networks={"critic": ReadsANumber()}
    )
    before = state_of(trainer)
    # The line of the network, on the simulated GPU of what raises in the driver's place.
    line = r"(test_gpu_train_capture.py:\d+ \(return scores / |fake_cuda.py)"
    told = f"^step: got critic_step, which cannot be captured at {line}"
    with pytest.raises(InputError, match=told):
        trainer.step()
    after = state_of(trainer)
    assert all(torch.equal(x, after[name]) for name, x in before.items())


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"on_nan": "skip"}, "on_nan 'skip'"),
        ({"data": "digits", "grow_from": 8}, "grow_from 8"),
        ({"compile": True}, "compile True"),
    ],
)
def test_what_is_not_captured(settings, told):
    with pytest.raises(InputError, match=f"^capture: got True with {told}; leave one of the two"):
        TrainConfig(**{**SMALL, "capture": True, **settings})


@pytest.mark.parametrize(
    "of_trainer, told",
    [
        ({"processes": SimpleNamespace(count=2, join=lambda *_: None)}, "processes 2"),
        ({"skip_nan": True}, "skip_nan True"),
        ({"device": "cpu"}, "device cpu"),
    ],
)
def test_a_trainer_that_is_not_captured(of_trainer, told):
    one = trainer_of()
    given = one.generator, one.critic, one.source, one.recipe
    with pytest.raises(InputError, match=f"^capture: got True with {told}; leave capture out"):
        Trainer(*given, **{"device": "cuda", "speed": Speed(capture=True), **of_trainer})
