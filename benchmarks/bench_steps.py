"""Whole steps.

Of critics: forward of a real and a fake batch, the penalty where the game has one, loss, backward,
optimizer and clipping. A row is a layout and a precision; the first column is the plain float32
step that most code takes. The error is that of all weight gradients together against float64. The
tables of shares say what part of a step each op is, so that nobody mistakes a kernel's gain for the
step's.
torch.compile has the loss and its backward, with torch.func's gradient for the penalty. The limit
is the flops of the convolutions and linear layers at the rate of torch's float32 matrix product.

With R1, R1 + R2 and the approximate R1, at every step or every 16: against R3GAN's and APT's code
in plain torch, and where it is due at every step that loss compiled, R1 by torch.func, whose one
forward gives the scores, too; the limit is the step without a penalty.

Of an autoencoder's generator: forward, losses and backward with VQGAN's adaptive weight, against
two gradients through a retained graph as people copy them; the limit is the same step with a weight
that is given, so the least number of passes. And feature matching alone, over many heads.

On a GPU: loss, backward and Adam of a WGAN-GP and an R1 critic, eager, with the loss through
torch.compile, and as one CUDA graph by ganfast.capture, of plain torch and of ganfast.
"""

from __future__ import annotations

from benchmarks.harness import Harness
from benchmarks.networks import DCGAN_32, DCGAN_64, MLP
from benchmarks.steps.cases import whole_step
from benchmarks.steps.critic_step import WGAN_CLIP, WGAN_GP
from benchmarks.steps.generator_step import adaptive_step, feature_matching
from benchmarks.steps.on_device import GAMES, device_step
from benchmarks.steps.zero_centred import BOTH, KINDS, R1, penalty_step
from ganfast.bench.case import Case


def cases(quick: bool, device: str) -> list[Case]:
    if device != "cpu":
        return on_gpu(quick)
    if quick:
        return [
            *(whole_step(game, MLP, 256, rounds=3) for game in (WGAN_GP, WGAN_CLIP)),
            *(penalty_step(kind, MLP, 256) for kind in KINDS),
            adaptive_step(8, 32, 2),
            feature_matching("l1", 1, 1),
        ]
    critics = [
        step
        for game in (WGAN_GP, WGAN_CLIP)
        for step in (
            whole_step(game, DCGAN_32, 64),
            whole_step(game, DCGAN_32, 64, channels_last=True),
            whole_step(game, DCGAN_32, 64, channels_last=True, half=True),
            whole_step(game, MLP, 256),
        )
    ]
    matching = [feature_matching(distance) for distance in ("l1", "l2")]
    penalties = [penalty_step(kind, DCGAN_32, 64) for kind in KINDS]
    penalties += [penalty_step(kind, DCGAN_32, 64, every=16) for kind in (R1, BOTH)]
    return [*critics, *penalties, adaptive_step(), adaptive_step(32, 64, 8), *matching]


def on_gpu(quick: bool) -> list[Case]:
    """Whole steps eager, compiled and captured, the small network first: a graph helps it most."""
    sizes = [(MLP, 8)] if quick else [(MLP, 256), (DCGAN_64, 64)]
    return [
        device_step(game, *size, captured=captured)
        for size in sizes
        for captured in (True, False)
        for game in GAMES
    ]


def test_steps(benchmark, harness: Harness, case: Case, graph: bool, provider: str) -> None:
    harness.record(benchmark, case, graph, provider)
