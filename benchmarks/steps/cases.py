"""Which steps are measured, in which layout and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import networks
from benchmarks.contest import Contest, Entry
from benchmarks.limit import multiplying
from benchmarks.names import COMPILED, GANFAST
from benchmarks.steps import game
from benchmarks.steps.critic_step import CriticStep
from benchmarks.steps.flops import of_step
from benchmarks.steps.providers import STEPS

PLAIN, EAGER = "eager, float32 contiguous", "eager"
TOLERANCE, HALF_TOLERANCE = 1e-3, 0.1
"""Of a weight gradient, relative to the size of all: bfloat16 has two to three digits."""


@dataclass(frozen=True)
class WholeStep:
    game: str
    network: str
    batch: int
    channels_last: bool = False
    half: bool = False
    rounds: int = 9
    """For the table of shares."""

    @property
    def options(self) -> str:
        precision = "bfloat16 autocast" if self.half else "float32"
        return precision + (", channels_last" if self.channels_last else "")

    @property
    def name(self) -> str:
        words = f"{self.game} {self.network} {self.options}".lower().replace(",", "")
        return words.replace(" ", "-")

    def step(self, kind: str, *, plain: bool = False) -> CriticStep:
        return STEPS[self.game, kind](
            self.network,
            self.batch,
            norm=self.game == game.CLIP,
            channels_last=self.channels_last and not plain,
            half=self.half and not plain,
        )

    def contest(self) -> Contest:
        contest_steps: dict[str, CriticStep] = {}

        def entry(name: str, kind: str, **how: Any) -> Entry:
            def make() -> CriticStep:
                contest_steps[name] = self.step(kind, plain=how.get("plain", False))
                return contest_steps[name]

            half = self.half and name != PLAIN
            tolerance = HALF_TOLERANCE if half else TOLERANCE
            return Entry(make, tolerance, optional=kind == "compiled")

        entries = {PLAIN: entry(PLAIN, "eager", plain=True)}
        if self.channels_last or self.half:
            entries[EAGER] = entry(EAGER, "eager")
        if not self.half:
            entries[COMPILED] = entry(COMPILED, "compiled")
        entries[GANFAST] = entry(GANFAST, "ours")
        exact = self.exact()

        def error(_: str, step: CriticStep) -> float:
            found = step.gradients(self.fakes(step))
            off = sum(float((f - e).square().sum()) for f, e in zip(found, exact, strict=True))
            return (off / sum(float(e.square().sum()) for e in exact)) ** 0.5

        def shares() -> dict[str, dict[str, float]]:
            told = (PLAIN, EAGER, GANFAST)
            timed = {name: contest_steps[name] for name in told if name in contest_steps}
            return {name: step.shares(self.rounds) for name, step in timed.items()}

        return Contest(
            section=f"{self.game}, {self.network}, batch {self.batch}",
            label=self.options,
            entries=entries,
            error=error,
            yard=multiplying(1024, torch.float32),
            cost=of_step(self.network, self.batch, penalty=self.game == game.PENALTY),
            seconds=2.0 if self.network == networks.MLP else 8.0,
            afterwards={"shares": shares},
        )

    def fakes(self, step: CriticStep) -> torch.Tensor:
        return step.real if self.game == game.PENALTY else step.fake

    def exact(self) -> list[torch.Tensor]:
        """The weight gradients of the eager step in float64."""
        step = self.step("eager", plain=True)
        step.critic = step.critic.double()
        step.start = step.critic.state_dict()
        step.real, step.fake = step.real.double(), step.fake.double()
        return step.gradients(self.fakes(step))
