"""One step of a critic in parts that can be timed one by one, in the two Wasserstein games."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import networks
from ganfast.bench.timing import quantile

WGAN_CLIP, WGAN_GP = "WGAN-clip", "WGAN-GP"
BOUND, WEIGHT = 0.01, 10.0
CLIP_RATE = 5e-5
"""RMSprop's (Arjovsky et al. 2017)."""
PENALTY_RATE, BETAS = 1e-4, (0.0, 0.9)
"""Adam's (Gulrajani et al. 2017)."""

FORWARD, GRADIENT, LOSS = "forward", "penalty's gradient", "loss"
BACKWARD, UPDATE = "backward", "optimizer + clip"


Parts = dict[str, Callable[[], Any]]


def shares_of(steps: dict[str, Any], rounds: int) -> dict[str, dict[str, Any]]:
    """Of each step that has ``parts``, the median seconds of each: for ``Case.after``."""
    return {"shares": {name: seconds_of(step.parts, rounds) for name, step in steps.items()}}


def seconds_of(parts: Parts, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            start = perf_counter()
            part()
            times[name].append(perf_counter() - start)
    return {name: quantile(found, 0.5) for name, found in times.items()}


class CriticStep:
    """The parts in their order; calling it takes the whole step.

    A subclass says how ganfast, or who does without it, computes each part.
    """

    def __init__(
        self, network: str, batch: int, *, norm: bool, channels_last: bool, half: bool
    ) -> None:
        self.critic: nn.Module = networks.critic(network, norm=norm)
        self.real, self.fake = networks.samples(network, batch)
        if channels_last:
            self.critic = self.critic.to(memory_format=torch.channels_last)
            self.real, self.fake = (
                x.contiguous(memory_format=torch.channels_last) for x in (self.real, self.fake)
            )
        self.half = half
        self.start = {name: x.clone() for name, x in self.critic.state_dict().items()}
        self.weights = list(self.critic.parameters())
        self.parts = self.make_parts()

    def make_parts(self) -> Parts:
        raise NotImplementedError

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.half)

    def forward(self) -> None:
        with self.autocast():
            self.real_scores, self.fake_scores = self.critic(self.real), self.critic(self.fake)

    def backward(self) -> None:
        for weight in self.weights:
            weight.grad = None
        self.loss.backward()

    loss: Tensor
    real_scores: Tensor
    fake_scores: Tensor

    def __call__(self) -> CriticStep:
        for part in self.parts.values():
            part()
        return self

    def gradients(self, fake: Tensor) -> list[Tensor]:
        """Of the weights at their start, for other fakes. The step goes on from where it was.

        With fakes equal to the real samples every point between them is known, whoever draws eps.
        """
        state, mine = {k: v.clone() for k, v in self.critic.state_dict().items()}, self.fake
        self.critic.load_state_dict(self.start)
        self.fake = fake
        for name, part in self.parts.items():
            if name != UPDATE:
                part()
        found = [weight.grad.double() for weight in self.weights if weight.grad is not None]
        self.critic.load_state_dict(state)
        self.fake = mine
        return found
