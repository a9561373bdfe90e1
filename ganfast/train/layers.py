"""What the networks are made of."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Shape = tuple[int, ...]  # of one sample: (channels, size, size) for an image, (2,) for a point

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}


def widths_of(size: int, width: int) -> list[int]:
    """Channels of each halving from ``size`` down to 2: doubling, up to eight times the first."""
    halvings = size.bit_length() - 2
    return [width * min(2**i, 8) for i in range(halvings)]


def doubling(wide: int, narrow: int, norm: str, activation: str) -> list[nn.Module]:
    """A transposed convolution that doubles the side, and what follows it."""
    doubles = nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=norm == "none")
    return [spectral(doubles, norm), *after(narrow, norm, activation)]


def halving(channels: int, wide: int, norm: str, activation: str, pooling: str) -> list[nn.Module]:
    """A convolution, what follows it, and the pooling that halves the side where it does not."""
    bias = norm in ("none", "spectral")
    if pooling == "strided":
        strided = nn.Conv2d(channels, wide, 4, stride=2, padding=1, bias=bias)
        return [spectral(strided, norm), *after(wide, norm, activation)]
    plain = nn.Conv2d(channels, wide, 3, padding=1, bias=bias)
    pool = nn.AvgPool2d(2) if pooling == "average" else nn.MaxPool2d(2)
    return [spectral(plain, norm), *after(wide, norm, activation), pool]


def of_first(norm: str) -> str:
    """The norm after a critic's first convolution."""
    return norm if norm == "spectral" else "none"


def output(name: str) -> nn.Module:
    return nn.Sigmoid() if name == "sigmoid" else nn.Tanh()


def larger(images: Tensor, factor: int = 2) -> Tensor:
    return images.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def smaller(images: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(images, 2)


def spectral(layer: nn.Module, norm: str) -> nn.Module:
    """``layer``, its weight held at a largest singular value of 1 if ``norm`` is "spectral"."""
    return spectral_norm(layer) if norm == "spectral" else layer


def after(width: int, norm: str, activation: str, *, points: bool = False) -> list[nn.Module]:
    """What follows a layer of ``width`` channels. Layer norm is over all of a sample, as a group
    norm of one group."""
    layers: list[nn.Module] = []
    if norm == "batch":
        layers.append(nn.BatchNorm1d(width) if points else nn.BatchNorm2d(width))
    elif norm == "layer":
        layers.append(nn.GroupNorm(1, width))
    return [*layers, ACTIVATIONS[activation]()]
