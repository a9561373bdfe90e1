"""From uint8 pictures to what the network reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.contest import Contest, Entry
from benchmarks.limit import copying
from benchmarks.names import COMPILED, GANFAST
from benchmarks.ours import op

SIDE = 299
EAGER, PILLOW = "eager", "Pillow, channel by channel"


def eager(images: Tensor) -> Tensor:
    """pytorch-fid's steps, then the layout in which convolutions are fastest."""
    x = images.permute(0, 3, 1, 2).float() / 255
    x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return (2 * x - 1).contiguous(memory_format=torch.channels_last)


def pillow(images: Tensor) -> Tensor:
    """clean-fid's way: each channel is a float image that Pillow resizes."""
    import numpy as np
    from PIL import Image

    def resized(channel: Any) -> Any:
        image = Image.fromarray(channel.astype(np.float32), mode=None)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).clip(0, 255)

    pictures = [
        np.stack([resized(image[:, :, channel]) for channel in range(3)], axis=2)
        for image in images.numpy()
    ]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # channels_last already
    return (x - 128) / 128


@dataclass(frozen=True)
class Preprocessing:
    protocol: str
    count: int
    side: int

    @property
    def name(self) -> str:
        return f"preprocess-{self.protocol}-{self.count}x{self.side}"

    def contest(self) -> Contest:
        preprocess = op("metrics.preprocess")
        protocol = op("metrics.protocols.PROTOCOLS")[self.protocol]
        generator = torch.Generator().manual_seed(0)
        shape = (self.count, self.side, self.side, 3)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        clean = self.protocol == "clean"
        exact = pillow(images) if clean else eager(images)

        def error(_: str, found: Tensor) -> float:
            return float((found - exact).abs().max())

        def compiled() -> Any:
            function = torch.compile(eager, dynamic=False, fullgraph=True)
            return lambda: function(images)

        rivals = (
            {PILLOW: Entry(lambda: lambda: pillow(images))}
            if clean
            else {
                EAGER: Entry(lambda: lambda: eager(images), 1e-5),
                COMPILED: Entry(compiled, 1e-5, optional=True),
            }
        )
        moved = images.nbytes + exact.nbytes
        return Contest(
            section="uint8 pictures to the network's input, 299 x 299 float32",
            label=f"{self.protocol}, {self.count} of {self.side} x {self.side}",
            entries={
                **rivals,
                GANFAST: Entry(lambda: lambda: preprocess(images, protocol), 1e-5),
            },
            error=error,
            yard=copying(moved),
            cost=moved,
            seconds=4.0,
        )
