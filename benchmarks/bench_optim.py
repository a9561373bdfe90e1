"""Optimizer steps and weight clipping.

One update of all weights of a critic whose gradients are there: RMSprop and the clipping that WGAN
wants after it, Adam, and clipping alone. The error is that of a weight after one and two updates
against float64, relative to the largest change. What an update is of a whole step is in the suite
`steps`. The limit is the bytes that weights, gradients and moments move, at the rate at which torch
multiplies as many by 1 where they are.
"""

from __future__ import annotations

from benchmarks.harness import Harness
from benchmarks.networks import DCGAN_32, DCGAN_64, MLP, RESNET, critic
from ganfast.bench.case import Case
from ganfast.bench.optim import ADAM, CLIP, RMSPROP, update


def cases(quick: bool, device: str) -> list[Case]:
    return [
        update(kind, network, lambda network=network: list(critic(network, norm=True).parameters()))
        for kind in (RMSPROP, ADAM, CLIP)
        for network in ((MLP,) if quick else (MLP, DCGAN_32, DCGAN_64, RESNET))
    ]


def test_optim(benchmark, harness: Harness, case: Case, graph: bool, provider: str) -> None:
    harness.record(benchmark, case, graph, provider)
