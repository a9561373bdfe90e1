"""Every mistake in the settings is one line that names the field."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ganfast.errors import InputError
from ganfast.train import TrainConfig
from ganfast.train.recipe import ACTIVATIONS, CHAPTER, NORMS, POOLINGS, PRESETS, Penalty
from ganfast.train.schedule import critic_steps, learning_rate


@pytest.mark.parametrize(
    "settings, match",
    [
        (
            {"game": "wgangp"},
            "^game: got 'wgangp'; give one of minimax, .*, wgan, wgan-gp, .*; did you",
        ),
        ({"capture": True}, "^capture: got True with the device 'cpu', .* give device 'cuda', or"),
        ({"data": "mnist"}, "^data: got 'mnist'; give one of digits, .* folder:PATH or idx:PATH"),
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
        ({"game": "wgan", "penalty_weight": 1.0}, "^penalty_weight: .* give penalty too, one of"),
        ({"game": "hinge", "penalty_every": 4}, "^penalty_every: got 4 .*; give penalty too"),
        ({"penalty": "gp"}, "^penalty: got 'gp'; give one of none, wgan-gp, r1, r2"),
        ({"penalty": "r1", "norm_d": "batch"}, "^norm_d: got 'batch' with a gradient penalty"),
        ({"game": "wgan", "norm_d": "spectral"}, "^norm_d: got 'spectral' with weights .*clipped"),
        ({"norm_g": "instance"}, "^norm_g: got 'instance'; give one of none, batch, layer"),
        ({"activation": "gelu"}, "^activation: got 'gelu'; give one of leaky_relu, elu"),
        ({"pooling": "min"}, "^pooling: got 'min'; give one of strided, average, max"),
        ({"game": "hinge", "label_flip": 0.1}, "^label_flip: .*has no labels; give 0"),
        (
            {"preset": "r3gan", "game": "wgan"},
            "^game: got 'wgan' with the preset 'r3gan'; give n.*rel",
        ),
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


@pytest.mark.parametrize("game", CHAPTER)
def test_recipes(game):
    recipe = TrainConfig(game=game, lr=1e-3, n_critic=7).recipe()
    assert (recipe.lr, recipe.n_critic) == (1e-3, 7)
    assert (recipe.clip is not None) == (game == "wgan")
    kinds = {"wgan-gp": ["wgan-gp"], "relativistic": ["r1", "r2"]}
    assert [row.kind for row in recipe.penalties] == kinds.get(game, [])
    assert not recipe.penalties or recipe.norm_d != "batch"


def test_building_networks_leaves_the_callers_random_stream_alone():
    from ganfast.train.networks import build

    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, _ = build((3, 32, 32), 16, 4, seed=5)
    two, _ = build((3, 32, 32), 16, 4, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_network_shapes(size, norm, pooling):
    from ganfast.train.networks import build

    generator, critic = build(
        (3, size, size), 16, 4, seed=0, norm_g=norm, norm_d=norm, pooling=pooling
    )
    images = generator(torch.randn(3, 16))
    assert images.shape == (3, 3, size, size)
    assert images.abs().max() <= 1
    assert critic(images).shape == (3,)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_network_gets_what_it_is_asked_for(norm, activation):
    """The other network has none of it, for images and for points."""
    from ganfast.train.networks import build

    kinds = {"batch": torch.nn.modules.batchnorm._BatchNorm, "layer": torch.nn.GroupNorm}

    def has(network):
        modules = list(network.modules())
        if norm == "spectral":
            return any(torch.nn.utils.parametrize.is_parametrized(m) for m in modules)
        return any(isinstance(m, kinds[norm]) for m in modules)

    words = {"leaky_relu": "LeakyReLU", "elu": "ELU", "relu": "ReLU", "tanh": "Tanh"}
    for shape in ((1, 8, 8), (2,)):
        for which in (0, 1):
            norms = {"norm_g": "none", "norm_d": "none", ("norm_g", "norm_d")[which]: norm}
            networks = build(shape, 4, 4, 0, activation=activation, **norms)
            if norm != "none":
                assert [has(network) for network in networks] == [which == 0, which == 1]
            between = [type(m).__name__ for m in networks[which].modules()]
            assert between.count(words[activation]) >= 2
            assert not {"LeakyReLU", "ELU", "ReLU"} - {words[activation]} & set(between)


def test_sigmoid_images_are_between_0_and_1():
    from ganfast.train.networks import build

    images = build((1, 8, 8), 4, 4, 0, input_range="sigmoid")[0](torch.randn(9, 4)).detach()
    assert 0 <= float(images.min()) < 0.5 < float(images.max()) <= 1


@pytest.mark.parametrize("preset", PRESETS)
def test_every_row_of_every_preset_can_be_trained_and_shown(preset):
    for game in PRESETS[preset]:
        for data in ("digits", "ring"):
            recipe = TrainConfig(preset=preset, game=game, data=data).recipe()
            assert recipe.norm_d != "batch" or not recipe.penalties
            assert (recipe.latent_dim == 2) == (data == "ring")
            assert len(recipe.lines()) == len(dataclasses.fields(recipe))


def test_what_is_given_takes_the_place_of_the_presets_own():
    recipe = TrainConfig(
        game="minimax", penalty="r1+r2", penalty_weight=0.3, penalty_every=4, latent_dim=7,
        warm_up=True, decay="cosine", activation="elu", label_flip=0.1,
    ).recipe()  # fmt: skip
    assert recipe.penalties == (Penalty("r1", 0.3, 4), Penalty("r2", 0.3, 4))
    assert recipe.norm_d == "none"  # batch norm gave way to the penalty
    assert (recipe.latent_dim, recipe.warm_up, recipe.decay) == (7, True, "cosine")
    assert (recipe.activation, recipe.label_flip) == ("elu", 0.1)
    assert TrainConfig(game="wgan-gp", penalty="none").recipe().penalties == ()


def test_r3gan_is_of_pairs_unless_another_game_is_asked_for():
    """arXiv:2501.05441, eq. 2 with R1 and R2."""
    recipe = TrainConfig(preset="r3gan").recipe()
    assert recipe.loss == "relativistic" and recipe.compares
    assert [row.kind for row in recipe.penalties] == ["r1", "r2"]
    unpaired = TrainConfig(preset="r3gan", game="nonsaturating").recipe()
    assert unpaired == dataclasses.replace(recipe, loss="nonsaturating")
    assert TrainConfig().game == TrainConfig(preset="paper").game == "nonsaturating"


@pytest.mark.parametrize(
    ("settings", "on_points", "on_images"),
    [
        ({"game": "wgan-gp"}, {"wgan-gp": 1.0}, {"wgan-gp": 10.0}),
        ({"penalty": "r1"}, {"r1": 0.1}, {"r1": 0.1}),
        ({"preset": "points"}, {"r1": 0.02, "r2": 0.02}, {"r1": 0.1, "r2": 0.1}),
        ({"preset": "points", "penalty": "r1"}, {"r1": 0.02}, {"r1": 0.1}),
        ({"preset": "points", "penalty": "wgan-gp"}, {"wgan-gp": 1.0}, {"wgan-gp": 10.0}),
        ({"preset": "points", "game": "wgan-gp"}, {"wgan-gp": 1.0}, {"wgan-gp": 10.0}),
        ({"preset": "points", "penalty": "none"}, {}, {}),
        (
            {"preset": "points", "penalty_weight": 0.3},
            {"r1": 0.3, "r2": 0.3},
            {"r1": 0.3, "r2": 0.3},
        ),
    ],
)
def test_the_weights_of_penalties(settings, on_points, on_images):
    for data, weights in (("grid", on_points), ("digits", on_images)):
        recipe = TrainConfig(data=data, **settings).recipe()
        assert {row.kind: row.weight for row in recipe.penalties} == weights


def test_the_papers_settings():
    wgan = TrainConfig(preset="paper", game="wgan").recipe()
    assert (wgan.lr, wgan.clip, wgan.n_critic, wgan.warm_up) == (5e-5, 0.01, 5, True)
    gp = TrainConfig(preset="paper", game="wgan-gp").recipe()
    assert (gp.lr, gp.betas, gp.n_critic) == (1e-4, (0.0, 0.9), 5)
    assert gp.penalties == (Penalty("wgan-gp", 10.0),)


def test_critic_steps_are_a_function_of_the_step():
    plain = CHAPTER["wgan-gp"]
    assert [critic_steps(step, plain) for step in (0, 1, 24, 500)] == [105, 5, 5, 5]
    wgan = PRESETS["paper"]["wgan"]
    counts = [critic_steps(step, wgan) for step in (0, 24, 25, 499, 500, 501, 1000)]
    assert counts == [100, 100, 5, 5, 100, 5, 100]


def test_the_cosine_goes_from_the_rate_to_0():
    recipe = dataclasses.replace(CHAPTER["minimax"], decay="cosine", lr=0.2)
    rates = [learning_rate(step, recipe, 100) for step in (0, 50, 100, 200)]
    assert rates == pytest.approx([0.2, 0.1, 0, 0])
    assert learning_rate(99, CHAPTER["minimax"], 100) == CHAPTER["minimax"].lr
