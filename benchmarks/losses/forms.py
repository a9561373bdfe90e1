"""What people write by hand: the eager forms of every loss, the rivals of the fused kernels.

Each form is a function of the logits of one head, ``(real, fake, ones, zeros)`` for a discriminator
and ``(fake, ones, zeros)`` for a generator. ``ones`` and ``zeros`` are the label tensors that
``F.binary_cross_entropy_with_logits`` and ``F.mse_loss`` insist on; they are made once, outside of
what is timed, although most code makes them at every step. The forms work on any device.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch.nn.functional as F

from ganfast.games import FAKE, REAL

bce = F.binary_cross_entropy_with_logits


class Form(NamedTuple):
    name: str
    loss: Callable[..., Any]

    @property
    def code(self) -> str:
        """The expression, read from the source, so that what is printed is what was measured."""
        return inspect.getsource(self.loss).split("return ", 1)[1].strip()


def cross_entropy_softplus(real, fake, ones, zeros):
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def cross_entropy_bce(real, fake, ones, zeros):
    return bce(real, ones) + bce(fake, zeros)


def linear(real, fake, ones, zeros):
    return fake.mean() - real.mean()


def hinge(real, fake, ones, zeros):
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def half_square(real, fake, ones, zeros):
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def half_square_mse(real, fake, ones, zeros):
    return 0.5 * (F.mse_loss(real, ones) + F.mse_loss(fake, zeros))


def nonsaturating_softplus(fake, ones, zeros):
    return F.softplus(-fake).mean()


def nonsaturating_bce(fake, ones, zeros):
    return bce(fake, ones)


def minimax_softplus(fake, ones, zeros):
    return -F.softplus(fake).mean()


def minimax_bce(fake, ones, zeros):
    return -bce(fake, zeros)


def negative_exponential(fake, ones, zeros):
    return -fake.exp().mean()


def linear_generator(fake, ones, zeros):
    return -fake.mean()


def half_square_generator(fake, ones, zeros):
    return 0.5 * (fake - 1).square().mean()


def half_square_mse_generator(fake, ones, zeros):
    return 0.5 * F.mse_loss(fake, ones)


SOFTPLUS, BCE = "eager softplus", "eager BCE-with-logits"
SQUARE, MSE = "eager square", "eager mse_loss"
PLAIN = "eager"

DISCRIMINATOR: dict[str, tuple[Form, ...]] = {
    "cross_entropy": (Form(SOFTPLUS, cross_entropy_softplus), Form(BCE, cross_entropy_bce)),
    "linear": (Form(PLAIN, linear),),
    "hinge": (Form(PLAIN, hinge),),
    "half_square": (Form(SQUARE, half_square), Form(MSE, half_square_mse)),
}
"""By the family of games.PHIS."""

GENERATOR: dict[tuple[str, float], tuple[Form, ...]] = {
    ("cross_entropy", REAL): (Form(SOFTPLUS, nonsaturating_softplus), Form(BCE, nonsaturating_bce)),
    ("negative_cross_entropy", FAKE): (Form(SOFTPLUS, minimax_softplus), Form(BCE, minimax_bce)),
    ("negative_exponential", REAL): (Form(PLAIN, negative_exponential),),
    ("linear", REAL): (Form(PLAIN, linear_generator),),
    ("half_square", REAL): (
        Form(SQUARE, half_square_generator),
        Form(MSE, half_square_mse_generator),
    ),
}
"""By the family and the generator's target."""


def of(player: str, phi: str, target: float) -> tuple[Form, ...]:
    """The forms of one loss. A KeyError means: a new game needs its lines in this file."""
    return DISCRIMINATOR[phi] if player == "discriminator" else GENERATOR[phi, target]
