"""One point between each real and each fake sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.contest import Contest, Entry
from benchmarks.limit import copying
from benchmarks.names import COMPILED, GANFAST
from benchmarks.ours import op
from benchmarks.penalty.images import Images

EAGER, LERP = "eager eps*x + (1-eps)*y", "eager lerp"
TOLERANCE = 1e-5


def weighted(real: Tensor, fake: Tensor) -> Tensor:
    eps = torch.rand(len(real), 1, 1, 1)
    return eps * real + (1 - eps) * fake


def lerp(real: Tensor, fake: Tensor) -> Tensor:
    return fake.lerp(real, torch.rand(len(real), 1, 1, 1))


def error(found: Tensor, real: Tensor, fake: Tensor) -> float:
    """How far each sample is from the line between its ends; infinite for an eps that is wrong.

    The eps of a sample is not known, since providers draw their own: it is the one that the sample
    fits best.
    """
    ahead = (real - fake).double().flatten(1)
    off = (found - fake).double().flatten(1)
    eps = (off * ahead).sum(1) / ahead.square().sum(1)
    if not (bool(((eps > -1e-6) & (eps < 1 + 1e-6)).all()) and float(eps.std()) > 0.1):
        return float("inf")
    return float((off - eps[:, None] * ahead).abs().max())


@dataclass(frozen=True)
class Interpolation:
    images: Images

    @property
    def name(self) -> str:
        return f"interpolate-{self.images.name}"

    def contest(self) -> Contest:
        real, fake = self.images.make(1), self.images.make(2)

        def entry(function: Any, *, optional: bool = False) -> Entry:
            return Entry(lambda: partial(function(), real, fake), TOLERANCE, optional=optional)

        return Contest(
            section="Interpolation",
            label=self.images.label,
            entries={
                EAGER: entry(lambda: weighted),
                LERP: entry(lambda: lerp),
                COMPILED: entry(
                    lambda: torch.compile(weighted, dynamic=False, fullgraph=True), optional=True
                ),
                GANFAST: entry(lambda: op("functional.interpolate")),
            },
            error=lambda _, found: error(found, real, fake),
            yard=copying(8 * self.images.size),
            cost=12.0 * self.images.size,  # two floats read, one written
        )
