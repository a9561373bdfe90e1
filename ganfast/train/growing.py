"""Networks that grow while they learn: coarse pictures first, finer ones as blocks fade in."""

from __future__ import annotations

import itertools
from typing import cast

from torch import Tensor, nn

from ganfast.errors import InputError
from ganfast.train.layers import (
    Shape,
    after,
    doubling,
    halving,
    larger,
    of_first,
    output,
    smaller,
    spectral,
    widths_of,
)


class Growing(nn.Module):
    """Networks for images that begin with pictures of side ``first`` and double it stage by stage
    (Karras et al. 2018, arXiv:1710.10196). All blocks are there from the start, so that optimizer,
    average and checkpoint never change shape; those of later stages wait without a gradient.

    In the last stage each is the network that does not grow.
    """

    def __init__(self, shape: Shape, first: int) -> None:
        super().__init__()
        self.side, self.first = shape[-1], first
        self.stages = (self.side // first).bit_length()
        self.reached = (self.stages - 1, 1.0)
        """The stage, and alpha, of a call without them."""

    def shown(self, images: Tensor, stage: int, alpha: float) -> Tensor:
        """Images of full side as they are at ``stage``: shrunk, and with ``alpha`` below 1 faded
        from the stage before."""
        side = self.first * 2**stage
        images = nn.functional.avg_pool2d(images, images.shape[-1] // side)
        return images if alpha == 1 else larger(smaller(images)).lerp(images, alpha)


class GrowingGenerator(Growing):
    """Noise (n, latent_dim) -> images. ``forward(noise, stage, alpha)`` gives those of the stage,
    ``alpha`` of its own and the rest of the enlarged ones of the stage before;
    ``forward(noise)`` those of the stage that is ``reached``, enlarged to full side."""

    def __init__(
        self, shape: Shape, latent_dim: int, width: int, first: int, *, norm: str = "batch",
        activation: str = "leaky_relu", end: str = "tanh",
    ) -> None:  # fmt: skip
        super().__init__(shape, first)
        widths = widths_of(self.side, width)[::-1]
        start = len(widths) - self.stages  # doublings before the first pictures
        layers: list[nn.Module] = [
            spectral(nn.Linear(latent_dim, widths[0] * 4, bias=norm == "none"), norm),
            nn.Unflatten(1, (widths[0], 2, 2)),
            *after(widths[0], norm, activation),
        ]
        blocks = [doubling(a, b, norm, activation) for a, b in itertools.pairwise(widths)]
        layers += itertools.chain(*blocks[:start])
        self.base = nn.Sequential(*layers)
        self.blocks = nn.ModuleList(nn.Sequential(*block) for block in blocks[start:])
        self.heads = nn.ModuleList(
            nn.ConvTranspose2d(wide, shape[0], 4, stride=2, padding=1) for wide in widths[start:]
        )
        self.end = output(end)

    def forward(self, noise: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        if stage is None:
            images = self(noise, *self.reached)
            return larger(images, self.side // images.shape[-1])
        features = before = self.base(noise)
        for block in self.blocks[:stage]:
            before, features = features, block(features)
        images = self.heads[stage](features)
        if alpha < 1:
            images = larger(self.heads[stage - 1](before)).lerp(images, alpha)
        return cast(Tensor, self.end(images))


class GrowingCritic(Growing):
    """Images -> scores (n,). ``forward(images, stage, alpha)`` takes those of the stage, shrunk and
    faded as ``shown`` has them; ``forward(images)`` takes them of full side."""

    def __init__(
        self, shape: Shape, width: int, first: int, *, norm: str = "none",
        activation: str = "leaky_relu", pooling: str = "strided",
    ) -> None:  # fmt: skip
        super().__init__(shape, first)
        widths = widths_of(self.side, width)
        stems, blocks = widths[: self.stages], list(itertools.pairwise(widths))
        self.stems = nn.ModuleList(
            nn.Sequential(*halving(shape[0], wide, of_first(norm), activation, pooling))
            for wide in stems[::-1]
        )
        made = [nn.Sequential(*halving(a, b, norm, activation, pooling)) for a, b in blocks]
        self.blocks = nn.ModuleList(made[: self.stages - 1][::-1])
        head = spectral(nn.Linear(widths[-1] * 4, 1), norm)
        self.tail = nn.Sequential(*made[self.stages - 1 :], nn.Flatten(), head, nn.Flatten(0))

    def forward(self, images: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        if stage is None:
            stage, alpha = self.reached
            images = self.shown(images, stage, alpha)
        features = self.stems[stage](images)
        for i in reversed(range(stage)):
            features = self.blocks[i](features)
            if alpha < 1 and i == stage - 1:
                features = self.stems[i](smaller(images)).lerp(features, alpha)
        return cast(Tensor, self.tail(features))


def check_growth(shape: Shape, first: int) -> None:
    """Raise InputError unless networks for samples of ``shape`` can grow from side ``first``."""
    if len(shape) != 3:
        raise InputError(f"grow_from: got {first} for points; give it for images alone")
    sides = [2**i for i in range(2, shape[-1].bit_length() - 1)]
    if first not in sides:
        raise InputError(
            f"grow_from: got {first} for images of side {shape[-1]}; give "
            f"{' or '.join(map(str, sides))}"
        )
