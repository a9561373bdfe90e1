"""From samples to the distance: without covariances where those lose digits, or are too large."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.linalg.pairs import PATIENCE, pair_of, samples
from ganfast import linalg
from ganfast.bench.case import GANFAST, Case, ErrorOf, Provider, calling, multiplying
from ganfast.bench.matrices import eigvals_trace
from testing import gaussians

COVARIANCES = "np.cov, eigvals"


def distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """torchmetrics' way from moments."""
    trace = eigvals_trace(cov1, cov2)
    return (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * trace


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    array = x.numpy()
    return torch.from_numpy(array.mean(0)), torch.from_numpy(np.cov(array, rowvar=False))


def error_of(x: Tensor, y: Tensor, trace: float) -> ErrorOf:
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


def features(case: str, n: int) -> Case:
    """Both sides are samples: those of the pair ``case`` of gaussians.CASES."""
    slow = n > 1000

    def inputs(device: Any, seed: int) -> tuple[Tensor, Tensor]:
        pair = pair_of(case, n)
        assert pair.x is not None and pair.y is not None
        return pair.x, pair.y

    def by_covariances(function: Any) -> Any:
        return calling(lambda x, y: function(*moments(x), *moments(y)))

    from_features = linalg.frechet_distance_from_features
    count = samples(case, n)
    return Case(
        name=f"features-{case.replace(' ', '-')}-{n}",
        section=f"Fréchet distance from samples, d = {n}, float64",
        label=f"{case}, {count:,} + {count:,} samples",
        inputs=inputs,
        providers={
            COVARIANCES: Provider(by_covariances(distance), slow=slow),
            "ganfast, covariances": Provider(by_covariances(linalg.frechet_distance), slow=slow),
            GANFAST: Provider(calling(from_features), 1e-12, slow=slow),
        },
        error_of=lambda x, y: error_of(x, y, pair_of(case, n).trace),
        limit=partial(multiplying, n, torch.float64, flops_of_factors(n, count, count)),
        seconds=0.0,
        rounds=3,
        patience=PATIENCE,
    )


def against_reference(count: int, n: int) -> Case:
    """Few new samples against the moments of a large set, which are stored."""

    def inputs(device: Any, seed: int) -> tuple[Tensor, Tensor]:
        x = gaussians.features(5 * n, n, seed=1)
        return x, gaussians.features(count, n, seed=2, mean=0.1)

    def by_covariances(x: Tensor, y: Tensor) -> Any:
        mean, covariance = x.mean(0), torch.cov(x.mT)
        return lambda: distance(mean, covariance, *moments(y))

    def by_gaussian(x: Tensor, y: Tensor) -> Any:
        reference = linalg.Gaussian(x.mean(0), torch.cov(x.mT))
        return lambda: linalg.frechet_distance_from_features(reference, y)

    # Rows S1 rows^T and the eigenvalues of that, one row less than samples.
    rows = count - 1
    cost = 2 * rows * n**2 + rows**2 * n + 4 / 3 * rows**3
    return Case(
        name=f"reference-{count}-{n}",
        section=f"Fréchet distance from samples, d = {n}, float64",
        label=f"{count} samples against a stored reference",
        inputs=inputs,
        providers={
            COVARIANCES: Provider(by_covariances, slow=n > 1000),
            GANFAST: Provider(by_gaussian, 1e-13),
        },
        error_of=lambda x, y: error_of(x, y, gaussians.trace_of_samples(x, y)),
        limit=partial(multiplying, n, torch.float64, cost),
        seconds=2.0,
        patience=PATIENCE,
    )
