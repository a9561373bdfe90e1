"""The watch of a run: how its samples compare with held-out data, the best weights so far, and when
to stop."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from ganfast.errors import InputError
from ganfast.train import checkpoint
from ganfast.train.fitting import evaluating
from ganfast.train.loop import Trainer
from ganfast.train.schedule import is_due
from ganfast.train.source import Mixture
from ganfast.train.watch.judge import Judge, seen_by
from ganfast.train.watch.patience import best_of, has_run_out, may_be_best

HELD_OUT = 2000  # samples at most, half to fit the critic and half to read it on
LEAST_HELD_OUT = 16
GENERATED = 2048  # samples at least that the critic is fitted against
POINTS = 1000  # that are looked at for modes
LOOKED_AT = 64  # samples at which the critic's gradient is looked at


def look(trainer: Trainer) -> dict[str, float]:
    """What every log line has besides the losses: the critic's gradient, and of a mixture the modes
    that a fifth of their fair share of samples is at."""
    found = slope(trainer.critic, trainer.source.train.first(LOOKED_AT).to(trainer.device))
    if isinstance(trainer.source, Mixture):
        found["modes"], found["at_mode"] = modes_of(trainer.source, trainer.sample(POINTS, 0))
    return found


def slope(critic: nn.Module, samples: Tensor) -> dict[str, float]:
    """Of d score / d x at ``samples``: ``critic_slope``, its mean norm, which is all that a
    generator learns from; and ``zero_gradient``, the share of exact zeros in it, the pixels that
    tell a generator nothing."""
    samples = samples.detach().requires_grad_()
    with evaluating(critic):
        (gradient,) = torch.autograd.grad(critic(samples).sum(), samples)
    return {
        "critic_slope": float(gradient.flatten(1).norm(dim=1).mean()),
        "zero_gradient": float((gradient == 0).float().mean()),
    }


def modes_of(mixture: Mixture, points: Tensor) -> tuple[int, float]:
    """How many modes have a fifth of their fair share of ``points``, and the share of points at
    any."""
    return mixture.coverage(points, least=math.ceil(0.2 * len(points) / len(mixture.centres)))


class Watch:
    """Every ``every`` steps the distance of the average generator from held-out data, and the rows
    of MEASURES; the weights that had the least distance, or FID, are kept, and ``stop`` is true
    once ``patience`` evaluations did not come below it. Both are about means of three: see
    patience.py.

    The mean around the last evaluation still wants the next one, which may send the best back to
    where it was before: so the weights of the last one and of the best before it are held.

    Args:
        judge_with: an extractor by its name, that samples are judged with; None: they are as they
            are.
        best_by: "distance" or "fid".

    Raises:
        InputError: there is next to no held-out data, or no such extractor.
    """

    def __init__(
        self, trainer: Trainer, every: int, patience: int, seed: int, judge_with: str | None = None,
        best_by: str = "distance",
    ) -> None:  # fmt: skip
        self.trainer, self.every, self.patience, self.seed = trainer, every, patience, seed
        self.judge_with, self.best_by = judge_with, best_by
        self.steps: list[int] = []
        self.values: list[float] = []
        self.held: dict[int, dict[str, Tensor]] = {}  # weights, by the number of the evaluation
        self.seconds = 0.0  # CPU time of the evaluations of this process
        if not every:
            return
        self.held_out = trainer.source.held_out.first(HELD_OUT)
        if len(self.held_out) < LEAST_HELD_OUT:
            raise InputError(
                f"watch_every: got {every}, with {len(self.held_out)} samples held out to measure "
                f"on; give 0, or data of {4 * LEAST_HELD_OUT} images at least"
            )
        if judge_with is not None and len(trainer.source.shape) != 3:
            raise InputError(f"watch_with: got {judge_with!r} for points; give it for images only")
        if best_by == "fid" and judge_with is None:
            raise InputError("best_by: got 'fid', which needs a network; give watch_with too")
        see = seen_by(judge_with, trainer.device) if judge_with is not None else None
        self.judge = Judge(self.held_out, see, device=trainer.device)

    def is_due(self, step: int) -> bool:
        """Whether there is an evaluation after ``step`` steps."""
        return is_due(step, self.every)

    def evaluate(self, step: int) -> dict[str, float]:
        """Measure, and keep the weights if they are the best; returns what to log."""
        start = time.process_time()
        average, count = self.trainer.average, self.judge.count
        samples = self.trainer.sample(max(GENERATED, count), self.seed)
        # The same critic at its start, batches and noise each time: then what is left of luck is
        # in each distance alike, and they compare.
        measured = self.judge.with_distance(samples, self.seed)
        self.steps.append(step)
        self.values.append(measured[self.best_by])
        self.held[len(self.steps) - 1] = {k: t.clone() for k, t in average.state_dict().items()}
        self.held = {i: self.held[i] for i in may_be_best(self.values)}
        self.seconds += time.process_time() - start
        return measured

    @property
    def best(self) -> dict[str, Tensor]:
        """The best weights of the average; none if nothing was measured."""
        best = best_of(self.values)
        return {} if best is None else self.held[best]

    @property
    def stop(self) -> bool:
        """Whether there was nothing better for too long."""
        return has_run_out(self.values, self.patience)

    @property
    def best_step(self) -> int | None:
        """After which step the best weights were; None before the first evaluation."""
        best = best_of(self.values)
        return None if best is None else self.steps[best]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a run that resumes needs: tensors, and facts for JSON."""
        best = best_of(self.values)
        tensors = {
            f"{'best' if i == best else 'other'}.{name}": t
            for i, held in self.held.items()
            for name, t in held.items()
        }
        facts = {"steps": self.steps, "distances": self.values, "with": self.judge_with}
        return tensors, {"watch": facts}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Put back what ``state`` gave.

        Raises:
            InputError: what was measured and what is to be measured are of different features.
        """
        known = facts.get("watch", {})
        if "with" not in known and self.best_by == "distance" and self.judge_with is not None:
            known = {}  # an earlier version measured the samples' own numbers: nothing to compare
        if known.get("steps"):
            was = known.get("with", self.judge_with)
            if self.every and was != self.judge_with:
                instead = "leave it out" if was is None else f"give {was!r}"
                raise InputError(
                    f"watch_with: got {self.judge_with!r}; {instead}, as in the run so far: what "
                    "was measured of other features does not compare"
                )
            self.judge_with = was
        self.steps, self.values = known.get("steps", []), known.get("distances", [])
        best, self.held = best_of(self.values), {}
        for i in may_be_best(self.values):
            other = {} if i == best else checkpoint.under("other", tensors)
            # A checkpoint of an earlier version has the best alone.
            held = other or checkpoint.under("best", tensors)
            self.held[i] = {name: t.to(self.trainer.device) for name, t in held.items()}
