"""The Inception network of the Fréchet Inception Distance, layer by layer as it was published.

"Rethinking the Inception Architecture" (Szegedy et al., 2016), with the changes that the weights of
2015-12-05 were trained with: average pools do not count the padding, the last block pools by
maximum, there are 1008 classes and no auxiliary head. The names of parameters and buffers are those
of torchvision's ``inception_v3`` and of the published file, so its state_dict loads as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganfast.metrics.choices import DIMS

SIZE = 299
FEATURES = DIMS[-1]
CLASSES = 1008

SPATIAL_CHANNELS = 7
SPATIAL = SPATIAL_CHANNELS * 17 * 17
"""The features of sFID (Nash et al., 2021, arXiv:2103.03841) as ADM's evaluator computes it: the
first channels of Mixed_6d's 1 x 1 branch, at every one of its 17 x 17 pixels."""

# Batch normalisation's, of no use in evaluation mode: not every file has it.
_COUNTER = "num_batches_tracked"


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Any, *, stride: int = 1, padding: Any = 0
    ):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def average_pool(x: Tensor) -> Tensor:
    """3 x 3 means of the pixels that exist: at the border of 6, in a corner of 4."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def max_pool(x: Tensor) -> Tensor:
    """3 x 3 maxima, the size kept."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


def halve(x: Tensor) -> Tensor:
    """3 x 3 maxima of every second pixel, without padding."""
    return F.max_pool2d(x, 3, stride=2)


class InceptionA(nn.Module):
    """35 x 35: 1 x 1, 5 x 5 and twice 3 x 3 beside a pooled branch."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 64, 1)
        self.branch5x5_1 = ConvNorm(inputs, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, padding=1)
        self.branch_pool = ConvNorm(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(average_pool(x))
        return torch.cat([self.branch1x1(x), five, three, pooled], 1)


class InceptionB(nn.Module):
    """35 x 35 -> 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvNorm(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, halve(x)], 1)


class InceptionC(nn.Module):
    """17 x 17: 7 x 7 in factors 1 x 7 and 7 x 1, once and twice, beside a pooled branch."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        row: dict[str, Any] = {"kernel": (1, 7), "padding": (0, 3)}
        column: dict[str, Any] = {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = ConvNorm(inputs, 192, 1)
        self.branch7x7_1 = ConvNorm(inputs, inner, 1)
        self.branch7x7_2 = ConvNorm(inner, inner, **row)
        self.branch7x7_3 = ConvNorm(inner, 192, **column)
        self.branch7x7dbl_1 = ConvNorm(inputs, inner, 1)
        self.branch7x7dbl_2 = ConvNorm(inner, inner, **column)
        self.branch7x7dbl_3 = ConvNorm(inner, inner, **row)
        self.branch7x7dbl_4 = ConvNorm(inner, inner, **column)
        self.branch7x7dbl_5 = ConvNorm(inner, 192, **row)
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        pooled = self.branch_pool(average_pool(x))
        return torch.cat([self.branch1x1(x), once, twice, pooled], 1)


class InceptionD(nn.Module):
    """17 x 17 -> 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNorm(inputs, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNorm(inputs, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([three, self.branch7x7x3_4(seven), halve(x)], 1)


class InceptionE(nn.Module):
    """8 x 8: branches that end in a 1 x 3 beside a 3 x 1; ``maximum`` chooses the pool."""

    def __init__(self, inputs: int, *, maximum: bool) -> None:
        super().__init__()
        row: dict[str, Any] = {"kernel": (1, 3), "padding": (0, 1)}
        column: dict[str, Any] = {"kernel": (3, 1), "padding": (1, 0)}
        self.maximum = maximum
        self.branch1x1 = ConvNorm(inputs, 320, 1)
        self.branch3x3_1 = ConvNorm(inputs, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, **row)
        self.branch3x3_2b = ConvNorm(384, 384, **column)
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvNorm(384, 384, **row)
        self.branch3x3dbl_3b = ConvNorm(384, 384, **column)
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = self.branch_pool(max_pool(x) if self.maximum else average_pool(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(once),
            self.branch3x3_2b(once),
            self.branch3x3dbl_3a(twice),
            self.branch3x3dbl_3b(twice),
            pooled,
        ]
        return torch.cat(branches, 1)


class InceptionNetwork(nn.Module):
    """Images (n, 3, 299, 299), resized and scaled -> features (n, 2048), logits (n, 1008).

    The features are the mean over the last 8 x 8 pixels; the logits are what the Inception Score
    was defined with: the classifier's product *without* its bias. Dtype and memory format of the
    images are kept. A new network is in evaluation mode; its weights are PyTorch's random ones
    until ``load_state_dict``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, maximum=False)
        self.Mixed_7c = InceptionE(2048, maximum=True)
        self.fc = nn.Linear(FEATURES, CLASSES)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images, FEATURES)
        return features, features @ self.fc.weight.T

    def features(self, images: Tensor, dims: int) -> Tensor:
        """(n, dims): the layer that has this many channels, one of DIMS, averaged over its pixels.
        The layers after it are not computed."""
        layers = zip(DIMS, self._layers(images), strict=False)
        return next(x for width, x in layers if width == dims).mean((2, 3))

    def _layers(self, images: Tensor) -> Iterator[Tensor]:
        x = self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images))
        x = halve(self.Conv2d_2b_3x3(x))
        yield x
        x = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        yield x
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6a(x)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        yield x
        yield self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))


def build_network(state: Mapping[str, Tensor]) -> InceptionNetwork:
    """The network with these weights: ``expected_state()``'s names, any float dtype.

    The tensors are the network's own afterwards, not copied. No random weights are drawn first.
    """
    with torch.device("meta"):
        network = InceptionNetwork()
    counters = {
        name: torch.zeros((), dtype=torch.int64)
        for name in network.state_dict()
        if name.endswith(_COUNTER)
    }
    network.load_state_dict({**state, **counters}, assign=True)
    return network.requires_grad_(False)


def expected_state() -> dict[str, torch.Size]:
    """Name and shape of everything that a file of weights must have."""
    with torch.device("meta"):
        state = InceptionNetwork().state_dict()
    return {name: value.shape for name, value in state.items() if not name.endswith(_COUNTER)}
