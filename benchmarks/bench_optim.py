"""Optimizer steps and weight clipping.

One update of all weights of a critic whose gradients are there: RMSprop and the clipping that WGAN
wants after it, Adam, and clipping alone; on a GPU also Adam with clipping, and 100 million weights.
The error is that of a weight after one and two updates against float64, relative to the largest
change. What an update is of a whole step is in the suite `steps`. The limit is the bytes that
weights, gradients and moments move, at the rate at which torch multiplies as many by 1 where they
are.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Harness
from benchmarks.networks import DCGAN_32, DCGAN_64, MLP, RESNET, critic
from ganfast.bench.case import Case
from ganfast.bench.optim import ADAM, ADAM_CLIP, CLIP, RMSPROP, update


def cases(quick: bool, device: str) -> list[Case]:
    if device != "cpu":
        return on_gpu(quick)
    return [
        update(kind, network, partial(weights, network))
        for kind in (RMSPROP, ADAM, CLIP)
        for network in ((MLP,) if quick else (MLP, DCGAN_32, DCGAN_64, RESNET))
    ]


def weights(network: str) -> list[Tensor]:
    return list(critic(network, norm=True).parameters())


def square_layers(count: int, side: int) -> list[Tensor]:
    """``count`` layers with one value in each: what a weight is does not matter to the time."""
    return [torch.tensor(0.02 * (-1) ** i).expand(side, side) for i in range(count)]


def on_gpu(quick: bool) -> list[Case]:
    """At DCGAN's size the processor's time to launch counts, at 100 million weights the memory."""
    if quick:
        return [update(kind, MLP, partial(weights, MLP)) for kind in (RMSPROP, ADAM_CLIP, CLIP)]
    large = partial(square_layers, 24, 2048)
    networks = [(DCGAN_64, partial(weights, DCGAN_64)), ("square layers", large)]
    found = [update(kind, *each) for kind in (RMSPROP, ADAM_CLIP) for each in networks]
    found += [update(ADAM, *networks[0]), update(CLIP, *networks[0]), update(ADAM, *networks[1])]
    return [*found, update(RMSPROP, MLP, partial(weights, MLP))]


def test_optim(benchmark, harness: Harness, case: Case, graph: bool, provider: str) -> None:
    harness.record(benchmark, case, graph, provider)
