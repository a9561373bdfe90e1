"""The critics that penalties, optimizers and whole steps are measured on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganfast.train.networks import image_critic

DCGAN_32, DCGAN_64, RESNET, MLP = "DCGAN 32x32", "DCGAN 64x64", "ResNet 32x32", "MLP"


class Block(nn.Module):
    """Two convolutions beside a shortcut; halves the picture."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, wide, 3, padding=1)
        self.second = nn.Conv2d(wide, wide, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(self.first(x.relu()).relu())
        return nn.functional.avg_pool2d(inner + self.shortcut(x), 2)


def resnet(width: int = 128) -> nn.Module:
    """Images (n, 3, 32, 32) -> scores (n,), by four blocks of one width."""
    blocks = [Block(3 if i == 0 else width, width) for i in range(4)]
    head = [nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(width, 1), nn.Flatten(0)]
    return nn.Sequential(*blocks, *head)


def mlp() -> nn.Module:
    """Points (n, 2) -> scores (n,): 17,025 weights in 6 tensors."""
    return nn.Sequential(
        nn.Linear(2, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, 1),
        nn.Flatten(0),
    )


def critic(name: str, *, norm: bool = False) -> nn.Module:
    """The same weights every time. ``norm`` puts batch norm into a DCGAN."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == RESNET:
            return resnet()
        if name == MLP:
            return mlp()
        size = 32 if name == DCGAN_32 else 64
        return image_critic((3, size, size), 64, norm="batch" if norm else "none")


def samples(name: str, count: int) -> tuple[Tensor, Tensor]:
    """A real and a fake batch for a critic."""
    shape = (2,) if name == MLP else (3, 64, 64) if name == DCGAN_64 else (3, 32, 32)
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randn(count, *shape, generator=generator) for _ in range(2))
    return real, fake
