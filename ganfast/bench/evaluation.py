"""What an evaluation does beside the network: pictures in, statistics of features out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganfast.bench.case import (
    COMPILED,
    GANFAST,
    Case,
    ErrorOf,
    Provider,
    calling,
    compiled,
    copying,
    multiplying,
    normal,
)
from ganfast.metrics import Moments, preprocess

SIDE, BATCH = 299, 100


def eager_preprocess(images: Tensor) -> Tensor:
    """pytorch-fid's steps, then the layout in which convolutions are fastest."""
    x = images.permute(0, 3, 1, 2).float() / 255
    x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return (2 * x - 1).contiguous(memory_format=torch.channels_last)


def preprocessing(
    count: int,
    side: int,
    protocol: str = "pytorch-fid",
    peer: tuple[str, Callable[[Tensor], Tensor]] | None = None,
) -> Case:
    """uint8 pictures to the network's input; ``peer`` in place of the eager steps for a protocol
    that is not theirs."""
    steps = peer[1] if peer else eager_preprocess

    def inputs(device: torch.device, seed: int) -> tuple[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (count, side, side, 3)
        return (torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device),)

    def error_of(images: Tensor) -> ErrorOf:
        exact = steps(images)
        return lambda _, found: float((found - exact).abs().max())

    rivals = (
        {peer[0]: Provider(calling(peer[1]))}
        if peer
        else {
            "eager": Provider(calling(eager_preprocess), 1e-5),
            COMPILED: compiled(eager_preprocess, 1e-5),
        }
    )
    moved = count * 3 * (side**2 + 4 * SIDE**2)
    return Case(
        name=f"preprocess-{protocol}-{count}x{side}",
        section=f"uint8 pictures to the network's input, {SIDE} x {SIDE} float32",
        label=f"{protocol}, {count} of {side} x {side}",
        inputs=inputs,
        providers={
            **rivals,
            GANFAST: Provider(calling(partial(preprocess, protocol=protocol)), 1e-5),
        },
        error_of=error_of,
        limit=partial(copying, moved, float(moved)),
        seconds=4.0,
    )


Statistics = tuple[Any, Any]
"""Mean and covariance."""


def wide_cov(x: Tensor) -> Statistics:
    wide = x.double()
    return wide.mean(0), torch.cov(wide.mT)


def streamed(x: Tensor) -> Statistics:
    """ganfast's, as features come out of a network."""
    moments = Moments(x.shape[1], device=x.device)
    for rows in x.split(BATCH):
        moments.update(rows)
    return moments.mean, moments.covariance


def two_pass(x: Tensor) -> Tensor:
    """The covariance in float64, centred before it is squared, piece by piece."""
    mean = sum(piece.double().sum(0) for piece in x.split(4096)) / len(x)
    total = x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for piece in x.split(4096):
        centred = piece.double() - mean
        total.addmm_(centred.mT, centred)
    return total / (len(x) - 1)


WIDE = "torch.cov, float64"


def statistics(
    count: int, dim: int, peers: dict[str, Callable[[Tensor], Statistics]] | None = None
) -> Case:
    """Mean and covariance of ``count`` features, by the ``peers`` and by torch.cov in float64."""
    slow = count > 10_000

    def error_of(x: Tensor) -> ErrorOf:
        exact = two_pass(x)

        def error(_: str, found: Statistics) -> float:
            covariance = torch.as_tensor(found[1], device=x.device).double()
            return float((covariance - exact).abs().max() / exact.diagonal().max())

        return error

    functions = {WIDE: wide_cov, **(peers or {})}
    providers = {name: Provider(calling(each), slow=slow) for name, each in functions.items()}
    return Case(
        name=f"statistics-{count}x{dim}",
        section="Mean and covariance of float32 features",
        label=f"{count:,} x {dim}, ganfast in batches of {BATCH}",
        inputs=lambda device, seed: (normal(count, dim, seed=seed, device=device).add_(0.5),),
        providers={**providers, GANFAST: Provider(calling(streamed), 1e-12, slow=slow)},
        error_of=error_of,
        # The half that a symmetric product needs.
        limit=partial(multiplying, dim, torch.float64, float(count) * dim**2),
        seconds=1.0,
        rounds=4,
        patience=6.0,
    )
