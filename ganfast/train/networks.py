"""Generators and critics: DCGAN's shape for square images, small MLPs for points in the plane.

A critic ends in one raw score per sample, shape (n,): a logit in the unpaired games, a height in
the Wasserstein ones.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from ganfast.train.growing import GrowingCritic, GrowingGenerator, check_growth
from ganfast.train.layers import (
    Shape,
    after,
    doubling,
    halving,
    of_first,
    output,
    spectral,
    widths_of,
)


def build(
    shape: Shape,
    latent_dim: int,
    width: int,
    seed: int,
    *,
    norm_g: str = "batch",
    norm_d: str = "none",
    activation: str = "leaky_relu",
    pooling: str = "strided",
    input_range: str = "tanh",
    grow_from: int | None = None,
) -> tuple[nn.Module, nn.Module]:
    """A generator and a critic for samples of ``shape``, on the CPU, the same for the same seed.

    Args:
        shape: of one sample.
        latent_dim: length of the generator's noise.
        width: channels of the narrowest layer; an MLP has four times as many.
        seed: of the first weights.
        norm_g, norm_d: "none", "batch", "layer" or "spectral", of generator and critic.
        activation: between their layers, a row of ACTIVATIONS.
        pooling: how an image critic halves its picture: "strided" convolutions, "average", "max".
        input_range: what an image generator ends in: "tanh" or "sigmoid".
        grow_from: the side of the first pictures of networks that grow; None: they don't.

    Raises:
        InputError: samples that networks can't grow to from there.
    """
    of_g = {"norm": norm_g, "activation": activation}
    of_d = {"norm": norm_d, "activation": activation}
    if grow_from is not None:
        check_growth(shape, grow_from)
    with torch.random.fork_rng(devices=[]):  # the caller's own random stream stays as it was
        torch.manual_seed(seed)
        if grow_from is not None:
            return (
                GrowingGenerator(shape, latent_dim, width, grow_from, end=input_range, **of_g),
                GrowingCritic(shape, width, grow_from, pooling=pooling, **of_d),
            )
        if len(shape) == 3:
            return (
                image_generator(shape, latent_dim, width, end=input_range, **of_g),
                image_critic(shape, width, pooling=pooling, **of_d),
            )
        critic = mlp(shape[0], 4 * width, 1, **of_d)
        return (
            mlp(latent_dim, 4 * width, shape[0], **of_g),
            nn.Sequential(critic, nn.Flatten(0)),
        )


def image_generator(
    shape: Shape,
    latent_dim: int,
    width: int,
    *,
    norm: str = "batch",
    activation: str = "leaky_relu",
    end: str = "tanh",
) -> nn.Module:
    """Noise (n, latent_dim) -> images (n, channels, size, size) in [-1, 1], or with ``end``
    "sigmoid" in [0, 1]; size is a power of two from 8 up.

    A linear layer makes a 2x2 picture of many channels; each transposed convolution doubles its
    side.
    """
    channels, size, _ = shape
    widths = widths_of(size, width)[::-1]
    first = nn.Linear(latent_dim, widths[0] * 4, bias=norm == "none")
    layers: list[nn.Module] = [
        spectral(first, norm),
        nn.Unflatten(1, (widths[0], 2, 2)),
        *after(widths[0], norm, activation),
    ]
    for wide, narrow in itertools.pairwise(widths):
        layers += doubling(wide, narrow, norm, activation)
    last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1)
    return nn.Sequential(*layers, last, output(end))


def image_critic(
    shape: Shape,
    width: int,
    *,
    norm: str = "none",
    activation: str = "leaky_relu",
    pooling: str = "strided",
) -> nn.Module:
    """Images (n, channels, size, size) -> scores (n,). The generator's mirror.

    ``norm`` comes after all but the first convolution ("spectral": on all of them). Never "batch"
    with a gradient penalty: batch norm ties the samples of a batch together, and the penalty is
    about each one alone. Strides instead of max pooling and LeakyReLU instead of ReLU, so that
    every pixel passes a gradient back.
    """
    channels, size, _ = shape
    layers: list[nn.Module] = []
    for i, wide in enumerate(widths_of(size, width)):
        normed = norm if i > 0 else of_first(norm)
        layers += halving(channels, wide, normed, activation, pooling)
        channels = wide
    head = spectral(nn.Linear(channels * 4, 1), norm)
    return nn.Sequential(*layers, nn.Flatten(), head, nn.Flatten(0))


def mlp(
    inputs: int,
    hidden: int,
    outputs: int,
    *,
    norm: str = "none",
    activation: str = "leaky_relu",
) -> nn.Module:
    """(n, inputs) -> (n, outputs) through three hidden layers."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layer = nn.Linear(inputs, hidden)
        # He's start keeps the spread of a signal through ReLU; torch's own shrinks it at each layer
        # and a generator then begins with all its points in one place.
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [spectral(layer, norm), *after(hidden, norm, activation, points=True)]
        inputs = hidden
    return nn.Sequential(*layers, spectral(nn.Linear(hidden, outputs), norm))
