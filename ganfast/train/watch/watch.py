"""The watch of a run: the distance to held-out data, the best weights so far, and when to stop."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.train.loop import Trainer
from ganfast.train.players import share_of_zeros
from ganfast.train.schedule import is_due
from ganfast.train.source import Mixture
from ganfast.train.watch.independent_critic import independent_distance
from ganfast.train.watch.patience import best_of, has_run_out

HELD_OUT = 2000  # samples at most, half to fit the critic and half to read it on
LEAST_HELD_OUT = 16
POINTS = 1000  # that are looked at for modes
ZEROS_OF = 64  # samples at which the critic's gradient is looked at


def look(trainer: Trainer) -> dict[str, float]:
    """What every log line has besides the losses: the share of exact zeros in d score / d x, and
    of a mixture the modes that a fifth of their fair share of samples is at."""
    samples = trainer.source.train.first(ZEROS_OF).to(trainer.device)
    found: dict[str, float] = {"zero_gradient": share_of_zeros(trainer.critic, samples)}
    if isinstance(trainer.source, Mixture):
        found["modes"], found["at_mode"] = modes_of(trainer.source, trainer.sample(POINTS, 0))
    return found


def modes_of(mixture: Mixture, points: Tensor) -> tuple[int, float]:
    """How many modes have a fifth of their fair share of ``points``, and the share of points at
    any."""
    return mixture.coverage(points, least=math.ceil(0.2 * len(points) / len(mixture.centres)))


class Watch:
    """Every ``every`` steps the distance of the average generator from held-out data; the weights
    that had the least are kept, and ``stop`` is true once ``patience`` evaluations did not come
    below it. Both are about means of three: see patience.py.

    Raises:
        InputError: there is next to no held-out data.
    """

    def __init__(self, trainer: Trainer, every: int, patience: int, seed: int) -> None:
        self.trainer, self.every, self.patience, self.seed = trainer, every, patience, seed
        self.steps: list[int] = []
        self.distances: list[float] = []
        self.best: dict[str, Tensor] = {}
        self.held_out = trainer.source.held_out.first(HELD_OUT) if every else torch.empty(0)
        if every and len(self.held_out) < LEAST_HELD_OUT:
            raise InputError(
                f"watch_every: got {every}, with {len(self.held_out)} samples held out to measure "
                f"on; give 0, or data of {4 * LEAST_HELD_OUT} images at least"
            )

    def is_due(self, step: int) -> bool:
        """Whether there is an evaluation after ``step`` steps."""
        return is_due(step, self.every)

    def evaluate(self, step: int) -> dict[str, float]:
        """Measure, and keep the weights if they are the best; returns what to log."""
        trainer, average = self.trainer, self.trainer.average
        # A critic of its own each time, or the luck of one would be taken for the generator's.
        found = independent_distance(average, trainer.recipe, self.held_out, seed=self.seed + step)
        self.steps.append(step)
        self.distances.append(found.test)
        if best_of(self.distances) == len(self.distances) - 1:
            self.best = {name: t.clone() for name, t in average.state_dict().items()}
        return {"distance": found.test, "distance_fit": found.fit}

    @property
    def stop(self) -> bool:
        """Whether the distance has stopped falling."""
        return has_run_out(self.distances, self.patience)

    @property
    def best_step(self) -> int | None:
        """After which step the best weights were; None before the first evaluation."""
        best = best_of(self.distances)
        return None if best is None else self.steps[best]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a run that resumes needs: tensors, and facts for JSON."""
        tensors = {f"best.{name}": t for name, t in self.best.items()}
        return tensors, {"watch": {"steps": self.steps, "distances": self.distances}}

    def restore(self, best: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Put back what ``state`` gave, ``best`` by the names of the average."""
        self.best = {name: t.to(self.trainer.device) for name, t in best.items()}
        known = facts.get("watch", {})
        self.steps, self.distances = known.get("steps", []), known.get("distances", [])
