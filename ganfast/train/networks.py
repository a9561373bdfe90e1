"""Generators and critics: DCGAN's shape for square images, small MLPs for points in the plane.

A critic ends in one raw score per sample, shape (n,): a logit in the unpaired games, a height in
the Wasserstein ones.
"""

from __future__ import annotations

import torch
from torch import nn

Shape = tuple[int, ...]  # of one sample: (channels, size, size) for an image, (2,) for a point


def build(
    shape: Shape, latent_dim: int, width: int, seed: int, *, critic_norm: bool = False
) -> tuple[nn.Module, nn.Module]:
    """A generator and a critic for samples of ``shape``, on the CPU, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):  # the caller's own random stream stays as it was
        torch.manual_seed(seed)
        if len(shape) == 3:
            return image_generator(shape, latent_dim, width), image_critic(
                shape, width, norm=critic_norm
            )
        return mlp(latent_dim, 4 * width, shape[0]), nn.Sequential(
            mlp(shape[0], 4 * width, 1), nn.Flatten(0)
        )


def image_generator(shape: Shape, latent_dim: int, width: int) -> nn.Module:
    """Noise (n, latent_dim) -> images (n, channels, size, size) in [-1, 1]; size is a power of two
    from 8 up.

    A linear layer makes a 2x2 picture of many channels; each transposed convolution doubles its
    side.
    """
    channels, size, _ = shape
    widths = _widths(size, width)[::-1]
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, widths[0] * 4, bias=False),
        nn.Unflatten(1, (widths[0], 2, 2)),
        *_norm_relu(widths[0]),
    ]
    for narrow, wide in zip(widths[1:], widths[:-1], strict=True):
        layers += [
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False),
            *_norm_relu(narrow),
        ]
    layers += [nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1), nn.Tanh()]
    return nn.Sequential(*layers)


def image_critic(shape: Shape, width: int, *, norm: bool) -> nn.Module:
    """Images (n, channels, size, size) -> scores (n,). The generator's mirror.

    ``norm`` adds batch norm after all but the first convolution. Never with a gradient penalty:
    batch norm ties the samples of a batch together, and the penalty is about each one alone.
    Strides instead of max pooling and LeakyReLU instead of ReLU, so that every pixel passes a
    gradient back.
    """
    channels, size, _ = shape
    layers: list[nn.Module] = []
    for i, wide in enumerate(_widths(size, width)):
        normed = norm and i > 0
        layers.append(nn.Conv2d(channels, wide, 4, stride=2, padding=1, bias=not normed))
        layers += [nn.BatchNorm2d(wide)] if normed else []
        layers.append(nn.LeakyReLU(0.2))
        channels = wide
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 4, 1), nn.Flatten(0))


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """(n, inputs) -> (n, outputs) through three hidden layers."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layer = nn.Linear(inputs, hidden)
        # He's start keeps the spread of a signal through ReLU; torch's own shrinks it at each layer
        # and a generator then begins with all its points in one place.
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
        inputs = hidden
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


def _widths(size: int, width: int) -> list[int]:
    """Channels of each halving from ``size`` down to 2: doubling, up to eight times the first."""
    halvings = size.bit_length() - 2
    return [width * min(2**i, 8) for i in range(halvings)]


def _norm_relu(width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width), nn.ReLU()]
