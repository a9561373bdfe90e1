"""The batches that the penalty's ops are measured on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHAPES = ((64, 3, 32, 32), (64, 3, 64, 64), (16, 3, 256, 256))
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Images:
    shape: tuple[int, ...]
    layout: str

    @property
    def name(self) -> str:
        return f"{'x'.join(map(str, self.shape))}-{self.layout}"

    @property
    def label(self) -> str:
        return f"{self.shape}, {self.layout}"

    @property
    def size(self) -> int:
        return torch.Size(self.shape).numel()

    def make(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(self.shape, generator=generator)
        return x.contiguous(memory_format=LAYOUTS[self.layout])
