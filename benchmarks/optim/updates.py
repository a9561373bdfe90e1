"""One update of all weights of a critic, with gradients that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import networks
from benchmarks.contest import Contest, Entry
from benchmarks.limit import copying
from benchmarks.names import GANFAST
from benchmarks.ours import op

BOUND = 0.01
RMSPROP, ADAM, CLIP = "RMSprop + clip", "Adam", "clip alone"
BYTES = {RMSPROP: 20, ADAM: 28, CLIP: 8}
"""Per weight: weight and moments are read and written, the gradient is read."""

LOOP, FOREACH, FUSED = "torch, for-loop", "torch, foreach", "torch, fused"
RATE = 5e-5
BETAS = (0.0, 0.9)

Change = Callable[[], None]


def clamp_each(weights: list[Tensor]) -> Change:
    @torch.no_grad()
    def run() -> None:
        for weight in weights:
            weight.clamp_(-BOUND, BOUND)

    return run


def clamp_together(weights: list[Tensor]) -> Change:
    @torch.no_grad()
    def run() -> None:
        torch._foreach_clamp_min_(weights, -BOUND)
        torch._foreach_clamp_max_(weights, BOUND)

    return run


def after(optimizer: torch.optim.Optimizer, clip: Change) -> Change:
    def run() -> None:
        optimizer.step()
        clip()

    return run


def ways(update: str, weights: list[Tensor]) -> dict[str, Callable[[], Change]]:
    """Every provider's update of ``weights``; the first is the one that truth is computed by."""
    if update == RMSPROP:

        def rmsprop(foreach: bool) -> torch.optim.Optimizer:
            return torch.optim.RMSprop(weights, lr=RATE, foreach=foreach)

        return {
            LOOP: lambda: after(rmsprop(False), clamp_each(weights)),
            FOREACH: lambda: after(rmsprop(True), clamp_together(weights)),
            GANFAST: lambda: op("optim.RMSprop")(weights, lr=RATE, weight_clip=BOUND).step,
        }
    if update == ADAM:

        def adam(**how: bool) -> Change:
            return torch.optim.Adam(weights, lr=RATE, betas=BETAS, **how).step

        return {
            LOOP: lambda: adam(foreach=False),
            FOREACH: lambda: adam(foreach=True),
            FUSED: lambda: adam(fused=True),
            GANFAST: lambda: op("optim.Adam")(weights, lr=RATE, betas=BETAS).step,
        }

    def ours() -> Change:
        clip_weights_ = op("functional.clip_weights_")
        return lambda: clip_weights_(weights, BOUND)

    return {
        LOOP: lambda: clamp_each(weights),
        FOREACH: lambda: clamp_together(weights),
        GANFAST: ours,
    }


def weights_of(network: str, dtype: torch.dtype) -> list[Tensor]:
    """The critic's weights with fixed gradients."""
    generator = torch.Generator().manual_seed(2)
    found = []
    for weight in networks.critic(network, norm=True).parameters():
        gradient = torch.randn(weight.shape, generator=generator)
        found.append(weight.detach().to(dtype, copy=True).requires_grad_())
        found[-1].grad = gradient.to(dtype)
    return found


def truth(update: str, network: str) -> Iterator[list[Tensor]]:
    """The weights in float64 after each update."""
    weights = weights_of(network, torch.float64)
    change = next(iter(ways(update, weights).values()))()
    while True:
        change()
        yield [weight.detach().clone() for weight in weights]


@dataclass(frozen=True)
class Update:
    update: str
    network: str

    @property
    def name(self) -> str:
        words = f"{self.update} {self.network}".replace("+ ", "").lower()
        return words.replace(" ", "-")

    def contest(self) -> Contest:
        start = weights_of(self.network, torch.float64)
        names = list(ways(self.update, start))
        exact = {name: truth(self.update, self.network) for name in names}

        def error(name: str, found: list[Tensor]) -> float:
            """The largest error of a weight, relative to the largest change of one so far."""
            right = next(exact[name])  # called once for each call of the step
            pairs = zip(found, right, strict=True)
            off = max(float((f.detach().double() - r).abs().max()) for f, r in pairs)
            pairs = zip(start, right, strict=True)
            return off / max(float((s.detach() - r).abs().max()) for s, r in pairs)

        def entry(name: str) -> Entry:
            def make() -> Any:
                weights = weights_of(self.network, torch.float32)  # its own: each changes them
                change = ways(self.update, weights)[name]()

                def run() -> list[Tensor]:
                    change()
                    return weights

                return run

            return Entry(make, 1e-3)  # a float32 weight has that much of a change of 5e-5

        count = sum(weight.numel() for weight in start)
        return Contest(
            section=self.update,
            label=f"{self.network}, {count:,} weights in {len(start)} tensors",
            entries={name: entry(name) for name in names},
            error=error,
            yard=copying(BYTES[self.update] * count),
            cost=float(BYTES[self.update] * count),
        )
