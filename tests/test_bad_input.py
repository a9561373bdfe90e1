"""Each mistake gets an error at the call that names the argument, what was got and what to do."""

from __future__ import annotations

import re

import pytest
import torch

import ganfast
import ganfast.functional as GF

X = torch.zeros(4)


def message(error, function, *args, **kwargs):
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "function", [GF.generator_loss, lambda x, **kw: GF.discriminator_loss(x, x, **kw)]
)
def test_unknown_names(function):
    text = message(ValueError, function, X, game="wgangpx")
    assert "wgangpx" in text and "nonsaturating (ns)" in text and "hinge" in text
    assert "mean, sum, none" in message(ValueError, function, X, reduction="average")
    assert "game" in message(ValueError, function, X, game=["hinge"])


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (X, X.double(), "fake: got torch.float64 where real is torch.float32"),
        (X.long(), X.long(), "real: got torch.int64 logits; give float32"),
        (X, X.to(torch.complex64), "fake: got torch.complex64"),
        (X, X.to("meta"), "fake: is on meta but real is on cpu"),
        (X[:0], X, r"real: is empty \(shape \(0,\)\)"),
        (X, X[:0], "fake: is empty"),
        ([X], X, "got a list of 1 tensors and a tensor"),
        ([X, X], [X], "a list of 2 tensors and a list of 1 tensors"),
        ([], [], "real: got an empty list"),
        (
            {"h": None, "adv_output": torch.zeros(3)},
            torch.zeros(3),
            "real: got a dict; give the scores alone, one of 'adv_output'",
        ),
    ],
)
def test_mismatched_sides(real, fake, words):
    assert re.search(words, message(ValueError, GF.discriminator_loss, real, fake))


def test_not_tensors():
    assert "real: got a ndarray" in message(TypeError, GF.discriminator_loss, X.numpy(), X.numpy())
    assert "fake: got a list" in message(TypeError, GF.generator_loss, [1.0, 2.0])


def test_empty_generator_batch():
    assert "reduction='sum'" in message(ValueError, GF.generator_loss, X[:0])
    assert GF.generator_loss(X[:0], reduction="sum") == 0


BAD_RATES = {
    "label_smoothing": (1.0, -0.1, 2, float("nan"), "0.1"),
    "label_noise": (-0.1, float("inf"), float("nan"), None),
    "label_flip": (1.01, -0.5, float("nan")),
}


@pytest.mark.parametrize(
    ("option", "bad"), [(option, bad) for option, values in BAD_RATES.items() for bad in values]
)
def test_rates(option, bad):
    text = message(ValueError, GF.discriminator_loss, X, X, **{option: bad})
    assert text.startswith(f"{option}: got {bad!r}; give a finite number of at least 0")


@pytest.mark.parametrize("option", BAD_RATES)
@pytest.mark.parametrize("game", ["wasserstein", "hinge"])
def test_rates_where_there_are_no_labels(game, option):
    text = message(ValueError, GF.discriminator_loss, X, X, game=game, **{option: 0.1})
    assert option in text and game in text and "least_squares" in text


def test_ganloss():
    assert "hinge" in message(ValueError, ganfast.GANLoss, "hing")
    assert "label_smoothing" in message(ValueError, ganfast.GANLoss, "hinge", label_smoothing=0.1)
    assert "reduction" in message(ValueError, ganfast.GANLoss, reduction="max")
    loss = ganfast.GANLoss("hinge")
    assert "target_is_real" in message(ValueError, loss, X, False, for_discriminator=False)
    assert "prediction: got torch.int64" in message(ValueError, loss, X.long(), True)


@pytest.mark.parametrize(
    "target", [0.9, 1, "fake", None, torch.tensor(True), torch.ones(3)], ids=repr
)
def test_a_target_is_true_or_false(target):
    """CycleGAN's users pass 0.9 for a soft label; by its truth value it would train as 1."""
    assert "label_smoothing" in message(TypeError, ganfast.GANLoss("hinge"), X, target)


@pytest.mark.parametrize("game", ganfast.games.GAMES)
def test_shapes_never_broadcast(game):
    """(N,) against (N, 1): each side has its own mean, so there is no N x N to fall into."""
    real, fake = torch.randn(8), torch.randn(8)
    torch.testing.assert_close(
        GF.discriminator_loss(real, fake[:, None], game=game),
        GF.discriminator_loss(real, fake, game=game),
    )
