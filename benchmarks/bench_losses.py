"""Losses.

Forward and backward of the mean loss, gradients made new at every step, against what a user would
write instead; `ones` and `zeros` are made outside of what is timed. torch.compile has the fastest
eager form. The error is the larger of value and gradient against float64, each relative to its
scale. The limit is the time to move three numbers for each logit (two where the loss is linear) at
the bandwidth of torch's copy, measured in the same rounds. What two games share is measured once:
the discriminator of nonsaturating is also that of minimax and maximum_likelihood, the generator of
wasserstein also that of hinge.
"""

from __future__ import annotations

import torch

from benchmarks.harness import Harness
from ganfast import games
from ganfast.bench.case import Case
from ganfast.bench.losses import kind, loss

PATCHGAN = ((16, 1, 30, 30), (16, 1, 14, 14), (16, 1, 6, 6))
"""The heads of a discriminator that looks at three scales."""
BRIEF = 0.6
"""Seconds of a case on a GPU, in eager and in a graph each."""


def distinct(player: str) -> list[str]:
    """The games whose player's loss is not also another game's: a kernel is measured once.

    Of games with one discriminator or generator the one that people train stands for all.
    """
    kept: dict[tuple[str, str, float], str] = {}
    for game in sorted(games.GAMES, key=lambda name: name not in ("nonsaturating", "wasserstein")):
        kept.setdefault(kind(player, game), game)
    return [game for game in games.GAMES if game in kept.values()]


def cases(quick: bool, device: str) -> list[Case]:
    if device != "cpu":
        return on_gpu(quick)
    if quick:
        return [
            loss("discriminator", "nonsaturating", [(64,)]),
            loss("discriminator", "least_squares", [(4096,)]),
            loss("discriminator", "nonsaturating", PATCHGAN),
            loss("generator", "minimax", [(65_536,)]),
        ]
    found = []
    for game in distinct("discriminator"):
        for size in (64, 4096, 65_536, 1_000_000, 16_000_000):
            # A round of 16 million logits takes most of a second, and its page faults vary.
            seconds = 8.0 if size > 4_000_000 else 2.0
            found.append(loss("discriminator", game, [(size,)], seconds=seconds))
        found.append(loss("discriminator", game, PATCHGAN))
    for game in distinct("generator"):
        found += [loss("generator", game, [(n,)], seconds=1.5) for n in (64, 65_536, 1_000_000)]
    return found


def on_gpu(quick: bool) -> list[Case]:
    """The most telling first: what the time does not allow is left out from the end."""
    large = (4096, 1_000_000, 16_000_000)
    sizes = (64, 65_536, 1_000_000, 16_000_000, 4096, 64_000_000)
    main = [*([(n,)] for n in sizes[:4]), PATCHGAN, *([(n,)] for n in sizes[4:])]
    found = [loss("discriminator", "nonsaturating", heads, seconds=BRIEF) for heads in main]
    found.append(loss("generator", "nonsaturating", [(64,)], seconds=BRIEF))
    found.append(loss("discriminator", "nonsaturating", [(256_000_000,)], seconds=BRIEF))
    half = torch.bfloat16
    found += [
        loss("discriminator", "nonsaturating", [(n,)], dtype=half, seconds=BRIEF) for n in large
    ]
    found += [
        loss("discriminator", game, [(n,)], seconds=BRIEF)
        for game in distinct("discriminator")
        if game != "nonsaturating"
        for n in large
    ]
    return found[:1] if quick else found


def test_losses(benchmark, harness: Harness, case: Case, graph: bool, provider: str) -> None:
    harness.record(benchmark, case, graph, provider)
