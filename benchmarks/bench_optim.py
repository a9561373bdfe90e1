"""Optimizer steps and weight clipping.

One update of all weights of a critic whose gradients are there: RMSprop and the clipping that WGAN
wants after it, Adam, and clipping alone. The error is that of a weight after one and two updates
against float64, relative to the largest change. What an update is of a whole step is in the suite
`steps`. The limit is the bytes that weights, gradients and moments move at the bandwidth of a copy.
"""

from __future__ import annotations

from benchmarks.contest import Case, hold
from benchmarks.networks import DCGAN_32, DCGAN_64, MLP, RESNET
from benchmarks.optim.updates import ADAM, CLIP, RMSPROP, Update


def chosen(quick: bool) -> list[Case]:
    critics = (MLP,) if quick else (MLP, DCGAN_32, DCGAN_64, RESNET)
    return [Update(update, critic) for update in (RMSPROP, ADAM, CLIP) for critic in critics]


def test_optim(benchmark, case: Case, is_quick: bool) -> None:
    hold(benchmark, case, is_quick)
