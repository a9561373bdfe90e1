"""How networks run changes how fast a step is, and next to nothing of what it does."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ganfast.errors import InputError
from ganfast.train import TrainConfig, train
from ganfast.train.data import digits, ring
from ganfast.train.recipe import CHAPTER
from ganfast.train.run import new_trainer


def trainer_of(**settings):
    small = {"game": "wgan-gp", "width": 4, "batch_size": 8, "pretraining": 0, "n_critic": 2}
    source = ring() if settings.get("data") == "ring" else digits()
    return new_trainer(TrainConfig(**{**small, **settings}), source)


def same_gradients(one, two):
    """Those of a step of each player, from the same weights and draws."""
    for step, player in (("critic_step", "critic"), ("generator_step", "generator")):
        for trainer in (one, two):
            getattr(trainer, step)()
        networks = getattr(one, player), getattr(two, player)
        for p, q in zip(*(network.parameters() for network in networks), strict=True):
            if p.grad is None:
                assert q.grad is None
            else:
                torch.testing.assert_close(q.grad, p.grad, rtol=1e-4, atol=1e-6)


def seen_by(module):
    """The dtype of each batch that a layer gave out, and its size."""
    seen = []
    module.register_forward_hook(lambda _, inputs, out: seen.append((out.dtype, len(out))))
    return seen


@pytest.mark.parametrize("game", ["wgan-gp", "wgan", "relativistic"])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_one_pass_for_both_sides_is_the_same_step(game, norm):
    settings = {"game": game, "norm_d": norm}
    settings |= {"penalty": "none"} if game == "relativistic" else {}
    merged = trainer_of(**settings, merge=True)
    seen = seen_by(merged.critic)
    same_gradients(trainer_of(**settings), merged)
    assert seen[0][1] == 16


def test_one_pass_where_no_penalty_is_about_one_side():
    trainer = trainer_of(game="hinge", norm_d="none", penalty="r1", penalty_every=2, merge=True)
    seen = seen_by(trainer.critic[0])
    trainer.critic_step(0), trainer.critic_step(1)
    assert [n for _, n in seen] == [8, 8, 16]


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_norms_that_see_a_batch_are_not_merged(norm):
    with pytest.raises(InputError, match=f"^merge: got True with norm_d '{norm}', which would"):
        TrainConfig(game="hinge", norm_d=norm, merge=True)


def test_half_precision_is_of_the_networks_alone():
    trainer = trainer_of(
        game="hinge", norm_d="none", penalty="r1", penalty_every=2, precision="bf16"
    )
    seen, scores = seen_by(trainer.critic[0]), seen_by(trainer.critic)
    trainer.critic_step(0)
    assert {dtype for dtype, _ in seen} == {torch.float32}  # the penalty is due
    seen.clear()
    trainer.critic_step(1)
    trainer.generator_step()
    assert {dtype for dtype, _ in seen} == {torch.bfloat16}
    assert trainer.score(trainer.real()).dtype == trainer.fake().dtype == torch.float32
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in trainer.generator.parameters())
    logged = [value for values in trainer.meter.values.values() for value in values]
    assert {value.dtype for value in logged} == {torch.float32} and scores
    gp = trainer_of(precision="bf16")
    seen = seen_by(gp.critic[0])
    gp.critic_step()
    assert [dtype for dtype, _ in seen] == [torch.bfloat16, torch.bfloat16, torch.float32]


def test_half_precision_trains_as_the_whole_does():
    """Some steps of the critic alone: its loss falls alike."""
    losses = []
    for precision in ("fp32", "bf16"):
        trainer = trainer_of(precision=precision, norm_g="none")
        for _ in range(40):
            trainer.critic_step()
        losses.append(trainer.meter.take()["critic_loss"])
    assert losses[0] < 0 and losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("grow", [{}, {"grow_from": 4, "grow_steps": 1}])
def test_channels_last_is_of_weights_and_samples(grow):
    plain, other = trainer_of(**grow), trainer_of(**grow, channels_last=True)
    layouts = [p.is_contiguous(memory_format=torch.channels_last)
               for network in (other.generator, other.critic, other.average)
               for p in network.parameters() if p.dim() == 4]  # fmt: skip
    assert all(layouts)
    same_gradients(plain, other)
    assert other.real().is_contiguous(memory_format=torch.channels_last)


def test_channels_last_is_not_for_points(tmp_path):
    with pytest.raises(InputError, match="^channels_last: got True for points; leave it out"):
        train(TrainConfig(data="ring", channels_last=True, out=tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings(  # of torch's own compiler
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:The .grad attribute"
)
def test_compiled_networks_do_the_same():
    settings = {"data": "ring", "game": "wgan-gp"}
    same_gradients(trainer_of(**settings), trainer_of(**settings, compile=True))


def test_a_penalty_goes_through_the_network_as_it_is(monkeypatch):
    """torch.compile's graphs have no second derivative."""
    calls = []

    def compiled(module):
        def run(x, **size):
            calls.append(module)
            return module(x, **size)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    for penalty, scored in (("wgan-gp", 2), ("r1", 0), ("none", 2)):
        trainer = trainer_of(game="hinge", norm_d="none", penalty=penalty, compile=True)
        calls.clear()
        trainer.critic_step()
        assert [calls.count(trainer.generator), calls.count(trainer.critic)] == [1, scored]


def test_a_compiler_that_fails_is_one_line(tmp_path, monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler

    def compiled(module):
        def run(*_, **__):
            raise InvalidCxxCompiler

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    config = TrainConfig(data="ring", compile=True, out=tmp_path)
    with pytest.raises(InputError, match="^compile: torch.compile can't here .*; leave it out$"):
        train(config)


class Reads(TorchDispatchMode):
    """Counts what would wait for a device: numbers and masks that Python reads."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal"):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("game", CHAPTER)
@pytest.mark.parametrize("data", ["ring", "digits"])
def test_a_step_waits_for_no_device(game, data, monkeypatch):
    """Optimizers apart: their counters lie on the CPU, and theirs are other tests."""
    trainer = trainer_of(game=game, data=data, label_noise=0.1 * (game == "minimax"))
    trainer.step()  # what comes once
    for optimizer in (trainer.generator_optimizer, trainer.critic_optimizer):
        optimizer.step = lambda: None
    reads = Reads()
    for name in ("tolist", "numpy", "cpu"):  # copies, which on a CPU are none
        plain = getattr(torch.Tensor, name)

        def read(tensor, name=name, plain=plain):
            reads.names.append(name)
            return plain(tensor)

        monkeypatch.setattr(torch.Tensor, name, read)
    with reads:
        trainer.step()
    assert reads.names == []
    with reads:
        trainer.meter.values["critic_loss"][0].item()
        trainer.meter.take()
    assert reads.names == ["_local_scalar_dense", "tolist"]  # such reads are seen
