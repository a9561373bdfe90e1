"""Whole critic steps.

Forward of a real and a fake batch, the penalty where the game has one, loss, backward, optimizer
and clipping. A row is a layout and a precision; the first column is the plain float32 step that
most code takes. The error is that of all weight gradients together against float64. The tables of
shares say what part of a step each op is, so that nobody mistakes a kernel's gain for the step's.
torch.compile has the loss and its backward, with torch.func's gradient for the penalty. The limit
is the flops of the convolutions and linear layers at the rate of torch's float32 matrix product.
"""

from __future__ import annotations

from benchmarks.contest import Case, hold
from benchmarks.networks import DCGAN_32, MLP
from benchmarks.steps.cases import WholeStep
from benchmarks.steps.game import CLIP, PENALTY


def chosen(quick: bool) -> list[Case]:
    if quick:
        return [WholeStep(game, MLP, 256, rounds=3) for game in (PENALTY, CLIP)]
    return [
        step
        for game in (PENALTY, CLIP)
        for step in (
            WholeStep(game, DCGAN_32, 64),
            WholeStep(game, DCGAN_32, 64, channels_last=True),
            WholeStep(game, DCGAN_32, 64, channels_last=True, half=True),
            WholeStep(game, MLP, 256),
        )
    ]


def test_steps(benchmark, case: Case, is_quick: bool) -> None:
    hold(benchmark, case, is_quick)
