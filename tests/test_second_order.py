"""Gradients of gradients: gradcheck and gradgradcheck on every loss, and how users reach them."""

from __future__ import annotations

import pytest
import torch
import truth
from torch.autograd import gradcheck, gradgradcheck
from truth import LOSSES

import ganfast
import ganfast.functional as GF
from ganfast.games import GAMES, REDUCTIONS

BACKENDS = [*truth.backends(), "reference"]


def logits(*shape):
    # Away from the hinge's kink, where finite differences mean nothing.
    x = 2 * torch.randn(shape, dtype=torch.float64)
    return torch.where((x.abs() - 1).abs() < 0.05, x + 0.2, x).requires_grad_()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck_and_gradgradcheck(name, reduction, backend):
    def loss(real, fake):
        return LOSSES[name](real, fake, reduction=reduction)

    inputs = (logits(3, 2), logits(5))
    with ganfast.backend(backend):
        assert gradcheck(loss, inputs)
        if LOSSES[name](*inputs).grad_fn is not None and has_curvature(name):
            assert gradgradcheck(loss, inputs)


def has_curvature(name):
    # Of a linear or piecewise linear loss the gradient does not depend on the logits, and
    # gradgradcheck, which perturbs them, has nothing to differentiate; test_gradient_of_gradient
    # covers those.
    return not name.startswith(("wasserstein", "hinge"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("game", [name for name, row in GAMES.items() if row.soft_labels])
def test_noisy_labels(game, backend):
    generator = torch.Generator()

    def loss(real, fake):
        generator.manual_seed(7)
        return GF.discriminator_loss(
            real, fake, game=game, label_smoothing=0.1, label_noise=0.2, label_flip=0.3,
            generator=generator,
        )  # fmt: skip

    inputs = (logits(7), logits(4, 2))
    with ganfast.backend(backend):
        assert gradcheck(loss, inputs)
        assert gradgradcheck(loss, inputs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_of_gradient(name, backend):
    """d/dw of a function of d loss/d x, as a gradient penalty has it; by finite differences."""
    w = torch.randn(3, 4, dtype=torch.float64)
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)

    def penalty(w):
        h = torch.tanh(x @ w)
        value = LOSSES[name](h.mean(1), h.sum(1) / 3) * 2
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        return gradient.square().sum()

    with ganfast.backend(backend):
        assert gradcheck(penalty, (w.requires_grad_(),))


@pytest.mark.parametrize("backend", BACKENDS)
def test_third_order(backend):
    """backward of backward is the reference's expression, so it goes on."""
    with ganfast.backend(backend):
        x = torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True)
        value = GF.generator_loss(x, game="nonsaturating", reduction="sum")
        for _ in range(3):
            (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    s = torch.sigmoid(x.detach())
    torch.testing.assert_close(value.detach(), s * (1 - s) * (1 - 2 * s))
