"""Generators and critics: DCGAN's shape for square images, small MLPs for points in the plane.

A critic ends in one raw score per sample, shape (n,): a logit in the unpaired games, a height in
the Wasserstein ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

Shape = tuple[int, ...]  # of one sample: (channels, size, size) for an image, (2,) for a point

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}


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
    """
    with torch.random.fork_rng(devices=[]):  # the caller's own random stream stays as it was
        torch.manual_seed(seed)
        if len(shape) == 3:
            return (
                image_generator(
                    shape, latent_dim, width, norm=norm_g, activation=activation, end=input_range
                ),
                image_critic(shape, width, norm=norm_d, activation=activation, pooling=pooling),
            )
        critic = mlp(shape[0], 4 * width, 1, norm=norm_d, activation=activation)
        return (
            mlp(latent_dim, 4 * width, shape[0], norm=norm_g, activation=activation),
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
    widths = _widths(size, width)[::-1]
    first = nn.Linear(latent_dim, widths[0] * 4, bias=norm == "none")
    layers: list[nn.Module] = [
        _spectral(first, norm),
        nn.Unflatten(1, (widths[0], 2, 2)),
        *_after(widths[0], norm, activation),
    ]
    for narrow, wide in zip(widths[1:], widths[:-1], strict=True):
        doubles = nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=norm == "none")
        layers += [_spectral(doubles, norm), *_after(narrow, norm, activation)]
    last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1)
    return nn.Sequential(*layers, last, nn.Sigmoid() if end == "sigmoid" else nn.Tanh())


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
    for i, wide in enumerate(_widths(size, width)):
        normed = norm if i > 0 or norm == "spectral" else "none"
        bias = normed in ("none", "spectral")
        if pooling == "strided":
            convolution = nn.Conv2d(channels, wide, 4, stride=2, padding=1, bias=bias)
        else:
            convolution = nn.Conv2d(channels, wide, 3, padding=1, bias=bias)
        layers += [_spectral(convolution, normed), *_after(wide, normed, activation)]
        if pooling != "strided":
            layers.append(nn.AvgPool2d(2) if pooling == "average" else nn.MaxPool2d(2))
        channels = wide
    head = _spectral(nn.Linear(channels * 4, 1), norm)
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
        layers += [_spectral(layer, norm), *_after(hidden, norm, activation, points=True)]
        inputs = hidden
    return nn.Sequential(*layers, _spectral(nn.Linear(hidden, outputs), norm))


def _widths(size: int, width: int) -> list[int]:
    """Channels of each halving from ``size`` down to 2: doubling, up to eight times the first."""
    halvings = size.bit_length() - 2
    return [width * min(2**i, 8) for i in range(halvings)]


def _spectral(layer: nn.Module, norm: str) -> nn.Module:
    """``layer``, its weight held at a largest singular value of 1 if ``norm`` is "spectral"."""
    return spectral_norm(layer) if norm == "spectral" else layer


def _after(width: int, norm: str, activation: str, *, points: bool = False) -> list[nn.Module]:
    """What follows a layer of ``width`` channels. Layer norm is over all of a sample, as a group
    norm of one group."""
    layers: list[nn.Module] = []
    if norm == "batch":
        layers.append(nn.BatchNorm1d(width) if points else nn.BatchNorm2d(width))
    elif norm == "layer":
        layers.append(nn.GroupNorm(1, width))
    return [*layers, ACTIVATIONS[activation]()]
