"""An extractor that takes milliseconds: ``tiny_network:network`` as an import path."""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor, nn

SLEEPS = float(os.environ.get("TINY_NETWORK_SLEEPS", "0"))
"""Seconds for each batch: what a process can be killed in."""

DIM, CLASSES = 12, 5


class Tiny(nn.Module):
    """Fixed random filters: features are what their channels come to on average."""

    input_size = 24

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, DIM, 5, stride=3)
        self.head = nn.Linear(DIM, CLASSES)
        with torch.no_grad():
            for weight in self.parameters():
                weight.normal_(0, 0.4, generator=random)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        time.sleep(SLEEPS)
        features = self.conv(x).relu().mean((2, 3))
        return features, self.head(4 * features)


def network() -> Tiny:
    return Tiny()
