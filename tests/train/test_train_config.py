"""Every mistake in the settings is one line that names the field."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ganfast.errors import InputError
from ganfast.train import TrainConfig
from ganfast.train.config import RECIPES


@pytest.mark.parametrize(
    "settings, match",
    [
        (
            {"game": "wgangp"},
            "^game: got 'wgangp'; give one of minimax, nonsaturating, wgan, wgan-gp; did you",
        ),
        ({"data": "mnist"}, "^data: got 'mnist'; give one of digits, ring, grid, folder:PATH"),
        ({"data": "folder:"}, "^data: got 'folder:'"),
        ({"data": "folder:PATH", "image_size": 31}, "^image_size: got 31; give a power of two"),
        ({"data": "folder:PATH", "image_size": 4}, "^image_size: got 4; give a whole number of at"),
        ({"steps": 0}, "^steps: got .*; give"),
        ({"steps": 1.5}, "^steps: got .*; give"),
        ({"batch_size": 1}, "^batch_size: got .*; give"),
        ({"batch_size": -4}, "^batch_size: got .*; give"),
        ({"n_critic": 0}, "^n_critic: got .*; give"),
        ({"game": "wgan", "clip": 0.0}, "^clip: got 0.0; give a finite number above 0"),
        ({"game": "wgan", "clip": float("nan")}, "^clip: got nan; give"),
        ({"clip": 0.1}, "^clip: got 0.1 for the game 'nonsaturating'; give it for wgan only"),
        ({"game": "wgan", "penalty_weight": 1.0}, "^penalty_weight: .* for wgan-gp only"),
        ({"lr": -1.0}, "^lr: got .*; give"),
        ({"label_smoothing": 1.0}, "^label_smoothing: got .*; give"),
        ({"label_smoothing": -0.1}, "^label_smoothing: got .*; give"),
        ({"game": "wgan", "label_smoothing": 0.1}, "^label_smoothing: .*has no labels; give 0"),
        ({"seed": -1}, "^seed: got .*; give"),
        ({"threads": 0}, "^threads: got .*; give"),
        ({"log_every": 0}, "^log_every: got .*; give"),
        ({"sample_every": -1}, "^sample_every: got .*; give"),
        ({"device": "gpu"}, "^device: got 'gpu', which can't be used"),
        ({"device": "cuda:99"}, "^device: got 'cuda:99', which can't be used"),
        ({"on_error": "ignore"}, "^on_error: got 'ignore'; give one of raise, skip"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(InputError, match=match) as caught:
        TrainConfig(**settings)
    assert "\n" not in str(caught.value)


def test_the_documentation_has_every_setting():
    for field in dataclasses.fields(TrainConfig):
        assert f"\n    {field.name}: " in TrainConfig.__doc__


def test_settings_become_plain_python():
    config = TrainConfig(steps=np.int64(3), lr=np.float32(0.5), out=Path("~"), seed=torch.tensor(2))
    assert (type(config.steps), type(config.lr), type(config.seed)) == (int, float, int)
    assert config.out == str(Path.home())


@pytest.mark.parametrize("game", RECIPES)
def test_recipes(game):
    recipe = TrainConfig(game=game, lr=1e-3, n_critic=7).recipe()
    assert (recipe.lr, recipe.n_critic) == (1e-3, 7)
    assert (recipe.clip is not None) == (game == "wgan")
    assert (recipe.penalty_weight is not None) == (game == "wgan-gp")
    assert recipe.penalty_weight is None or not recipe.critic_norm


def test_building_networks_leaves_the_callers_random_stream_alone():
    from ganfast.train.networks import build

    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, _ = build((3, 32, 32), 16, 4, seed=5)
    two, _ = build((3, 32, 32), 16, 4, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize("norm", [False, True])
def test_network_shapes(size, norm):
    from ganfast.train.networks import build

    generator, critic = build((3, size, size), 16, 4, seed=0, critic_norm=norm)
    images = generator(torch.randn(3, 16))
    assert images.shape == (3, 3, size, size)
    assert images.abs().max() <= 1
    assert critic(images).shape == (3,)
