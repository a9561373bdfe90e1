"""From samples to the distance: without covariances where those lose digits, or are too large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.contest import Contest, Entry
from benchmarks.limit import multiplying
from benchmarks.linalg import rivals
from benchmarks.linalg.pairs import PATIENCE, pair_of
from benchmarks.names import GANFAST
from benchmarks.ours import op
from tests import gaussians

COVARIANCES = "np.cov, eigvals"
OURS_FROM_COVARIANCES = "ganfast, covariances"


def distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """torchmetrics' way from moments."""
    trace = rivals.eigvals_trace(cov1, cov2)
    return (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * trace


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    array = x.numpy()
    return torch.from_numpy(array.mean(0)), torch.from_numpy(np.cov(array, rowvar=False))


def error_of(x: Tensor, y: Tensor, trace: float) -> Callable[[str, Any], float]:
    """The error of the trace, which a distance holds twice; its other terms are exact."""
    sides = [gaussians.over_root(side).square().sum() for side in (x, y)]
    exact = (x.mean(0) - y.mean(0)).square().sum() + sum(sides) - 2 * trace
    return lambda _, found: abs(float(found) - float(exact)) / (2 * trace)


def flops_of_factors(n: int, *counts: int) -> float:
    """QR of each side that has more rows than n, the product, and its bidiagonalisation."""
    tall = min(counts) > n
    triangles = sum(2 * n * n * (count - n / 3) for count in counts) if tall else 0.0
    rows = [n, n] if tall else list(counts)
    side = min(rows)
    return triangles + 2 * n * rows[0] * rows[1] + 4 * side**2 * (max(rows) - side / 3)


@dataclass(frozen=True)
class Features:
    """Both sides are samples."""

    case: str
    n: int

    @property
    def name(self) -> str:
        return f"features-{self.case.replace(' ', '-')}-{self.n}"

    def contest(self) -> Contest:
        pair = pair_of(self.case, self.n)
        x, y = pair.x, pair.y
        assert x is not None and y is not None
        slow = self.n > 1000

        def by_covariances(function: Any) -> Any:
            return lambda: function(*moments(x), *moments(y))

        def ours() -> Any:
            from_features = op("linalg.frechet_distance_from_features")
            return lambda: from_features(x, y)

        return Contest(
            section=f"Fréchet distance from samples, d = {self.n}, float64",
            label=f"{self.case}, {len(x):,} + {len(y):,} samples",
            entries={
                COVARIANCES: Entry(lambda: by_covariances(distance), slow=slow),
                OURS_FROM_COVARIANCES: Entry(
                    lambda: by_covariances(op("linalg.frechet_distance")), slow=slow
                ),
                GANFAST: Entry(ours, 1e-12, slow=slow),
            },
            error=error_of(x, y, pair.trace),
            yard=multiplying(self.n, torch.float64),
            cost=flops_of_factors(self.n, len(x), len(y)),
            seconds=0.0,
            rounds=3,
            each=PATIENCE,
        )


@dataclass(frozen=True)
class AgainstReference:
    """Few new samples against the moments of a large set, which are stored."""

    count: int
    n: int

    @property
    def name(self) -> str:
        return f"reference-{self.count}-{self.n}"

    def contest(self) -> Contest:
        x = gaussians.features(5 * self.n, self.n, seed=1)
        y = gaussians.features(self.count, self.n, seed=2, mean=0.1)
        mean, covariance = x.mean(0), torch.cov(x.mT)

        def ours() -> Any:
            reference = op("linalg.Gaussian")(mean, covariance)
            from_features = op("linalg.frechet_distance_from_features")
            return lambda: from_features(reference, y)

        # Rows S1 rows^T and the eigenvalues of that, one row less than samples.
        rows = self.count - 1
        return Contest(
            section=f"Fréchet distance from samples, d = {self.n}, float64",
            label=f"{self.count} samples against a stored reference",
            entries={
                COVARIANCES: Entry(
                    lambda: lambda: distance(mean, covariance, *moments(y)), slow=self.n > 1000
                ),
                GANFAST: Entry(ours, 1e-13),
            },
            error=error_of(x, y, gaussians.trace_of_samples(x, y)),
            yard=multiplying(self.n, torch.float64),
            cost=2 * rows * self.n**2 + rows**2 * self.n + 4 / 3 * rows**3,
            seconds=2.0,
            each=PATIENCE,
        )
