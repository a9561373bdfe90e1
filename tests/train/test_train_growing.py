"""Networks that grow: what each stage computes, and that nothing but the pictures changes shape."""

import functools

import pytest
import torch
from torch import nn

from ganfast.errors import InputError
from ganfast.train import TrainConfig, networks, train
from ganfast.train.data import digits
from ganfast.train.generated import Generated
from ganfast.train.recipe import NORMS, POOLINGS
from ganfast.train.run import new_trainer
from ganfast.train.schedule import grow
from ganfast.train.watch import independent_distance


def pair(size=32, first=8, **settings):
    return networks.build((1, size, size), 6, 4, 0, grow_from=first, **settings)


def test_the_size_is_a_function_of_the_step():
    at = [grow(step, 2, 3) for step in range(10)]
    thirds = [1 / 3, 2 / 3]
    assert [stage for stage, _ in at] == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert [alpha for _, alpha in at] == pytest.approx([1, 1, *thirds, 1, 1, *thirds, 1, 1])
    assert grow(10**6, 2, 3) == (2, 1.0) and grow(0, 5, 1) == (0, 1.0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_last_stage_is_the_network_that_does_not_grow(norm, pooling):
    settings = {"norm_g": norm, "norm_d": norm, "pooling": pooling}
    growing = pair(**settings)
    fixed = networks.build((1, 32, 32), 6, 4, 0, **settings)
    generator, critic = growing
    orders = (
        [generator.base, *generator.blocks, generator.heads[-1]],
        [critic.stems[-1], *reversed(critic.blocks), critic.tail],
    )
    for order, whole in zip(orders, fixed, strict=True):
        state = [t for part in order for t in part.state_dict().values()]
        names = whole.state_dict()
        assert [t.shape for t in state] == [t.shape for t in names.values()]
        whole.load_state_dict(dict(zip(names, state, strict=True)))
    for network in (*growing, *fixed):
        network.eval()
    noise = torch.randn(5, 6)
    images = generator(noise)
    assert torch.equal(images, fixed[0](noise))
    assert torch.equal(critic(images), fixed[1](images))


@pytest.mark.parametrize(("size", "first"), [(8, 4), (32, 4), (32, 8), (32, 16)])
def test_a_stage_begins_as_the_one_before(size, first):
    generator, critic = pair(size, first, norm_g="layer")
    noise = torch.randn(3, 6)
    for stage in range(1, generator.stages):
        before = generator(noise, stage - 1)
        side = first * 2**stage
        assert before.shape == (3, 1, side // 2, side // 2)
        enlarged = nn.functional.interpolate(before, scale_factor=2, mode="nearest")
        assert torch.allclose(generator(noise, stage, 0.0), enlarged, atol=1e-6)
        images = torch.rand(3, 1, size, size)
        large, small = critic.shown(images, stage, 0.0), critic.shown(images, stage - 1, 1.0)
        assert large.shape == (3, 1, side, side)
        assert torch.allclose(critic(large, stage, 0.0), critic(small, stage - 1), atol=1e-6)
        half = critic.shown(images, stage, 0.5)
        assert torch.allclose(half, (large + critic.shown(images, stage, 1.0)) / 2, atol=1e-6)


def test_without_a_stage_networks_speak_of_whole_images():
    generator, critic = pair()
    generator.reached = critic.reached = (1, 0.25)
    noise = torch.randn(3, 6)
    images = generator(noise)
    assert images.shape == (3, 1, 32, 32)
    assert torch.equal(images[..., ::2, ::2], generator(noise, 1, 0.25))
    shown = critic.shown(images, 1, 0.25)
    assert torch.equal(critic(images), critic(shown, 1, 0.25))


def test_blocks_wait_without_a_gradient_and_nothing_changes_shape(monkeypatch):
    config = TrainConfig(grow_from=4, grow_steps=2, width=4, batch_size=8, game="hinge")
    trainer = new_trainer(config, digits())
    head = trainer.generator.heads[1].weight
    shapes = {name: t.shape for name, t in trainer.generator.state_dict().items()}
    before = head.clone()
    for step in range(6):
        assert trainer.size["stage"] == (0 if step < 2 else 1)
        assert trainer.real().shape[-1] == (4 if step < 2 else 8)
        assert (trainer.size["alpha"] < 1) == (step in (2, 3))
        trainer.step()
        assert torch.equal(head, before) == (step < 2)
        assert trainer.sample(2, 0).shape == (2, 1, 8, 8)
    assert {name: t.shape for name, t in trainer.average.state_dict().items()} == shapes


@pytest.mark.parametrize("steps", [3, 5, 12])
def test_samples_of_a_folder_are_as_large_as_the_run_had_got(tmp_path, steps):
    config = TrainConfig(
        grow_from=4, grow_steps=4, width=4, batch_size=8, steps=steps, watch_every=3, out=tmp_path
    )
    with pytest.MonkeyPatch.context() as patch:
        few = functools.partial(independent_distance, steps=2)
        patch.setattr("ganfast.train.watch.judge.independent_distance", few)
        run = train(config)
    for last in (True, False):
        rows = Generated(tmp_path, 4, seed=3, last=last)[:4]
        expected = run.trainer.sample(4, 3) if last else run.sample(4, seed=3)
        assert torch.equal(rows, ((expected + 1) / 2).mul(255).round().to(torch.uint8))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"grow_from": 8}, "grow_from: got 8 for images of side 8; give 4"),
        ({"grow_from": 6}, "grow_from: got 6 for images of side 8; give 4"),
        ({"grow_from": 4, "data": "ring"}, "grow_from: got 4 for points"),
        ({"grow_steps": 4}, "grow_steps: got 4 for networks that don't grow; give grow_from"),
    ],
)
def test_what_cannot_grow_is_refused(tmp_path, settings, words):
    with pytest.raises(InputError, match=f"^{words}"):
        train(TrainConfig(out=tmp_path, **settings))


def test_networks_of_ones_own_do_not_grow(tmp_path):
    config = TrainConfig(grow_from=4, out=tmp_path)
    with pytest.raises(InputError, match="^grow_from: got 4 with networks of your own"):
        train(config, critic=nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
