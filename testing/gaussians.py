"""Pairs of Gaussians on which matrix square roots go wrong, with trusted answers."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

CASES = ("full rank", "few samples", "condition 1e16", "collapsed")


class Pair(NamedTuple):
    """Two covariances, the trace of the root of their product, and the samples if there are any."""

    a: Tensor
    b: Tensor
    trace: float
    x: Tensor | None = None
    y: Tensor | None = None


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(n: int, seed: int) -> Tensor:
    return torch.linalg.qr(normal(n, n, seed=seed)).Q


def features(count: int, n: int, *, seed: int, mean: float = 0.0) -> Tensor:
    """Rectified mixtures with a power-law spectrum, as the last layer of a network gives."""
    mixing = normal(n, n, seed=99) * torch.arange(1, n + 1).double().pow(-0.9)[:, None]
    return torch.relu((normal(count, n, seed=seed) + mean) @ mixing * 0.3)


def over_root(x: Tensor) -> Tensor:
    """Centred and divided: F with F^T F = the covariance."""
    return (x - x.mean(0)) / (len(x) - 1) ** 0.5


def covariance_of(f: Tensor) -> Tensor:
    """f^T f to one rounding of each entry, as good as float64 can hold it.

    A plain product of 10,000 rows leaves round-off of 5e-14 of the largest eigenvalue, in which
    what a collapsed generator has left would drown before any algorithm sees it. Here f is split
    into 19-bit parts, whose products and sums are exact in float64 (Ozaki et al., 2012).
    """
    bits = (53 - math.ceil(math.log2(len(f)))) // 2
    parts, rest = [], f
    for _ in range(2):
        step = 2.0 ** (math.ceil(math.log2(float(rest.abs().max()))) + 53 - bits)
        parts.append((rest + step) - step)
        rest = rest - parts[-1]
    high, middle = parts
    cross = high.T @ middle
    last = high.T @ rest + middle.T @ rest
    return high.T @ high + (cross + cross.T + (middle.T @ middle + (last + last.T)))


def trace_of_samples(x: Tensor, y: Tensor) -> float:
    """The nuclear norm of F1 F2^T by QR and SVD in float64: no square is ever formed."""
    sides = []
    for side in (over_root(x), over_root(y)):
        tall = side.shape[0] > side.shape[1]
        sides.append(torch.linalg.qr(side, mode="r").R if tall else side)
    return float(torch.linalg.svdvals(sides[0] @ sides[1].T).sum())


def pair(case: str, n: int, few: int | None = None) -> Pair:
    """``few`` is the number of samples a side where they are few; by default n / 2."""
    if case == "condition 1e16":
        # b = t a t, so the root of a b has the trace of t a.
        q, p = orthogonal(n, 3), orthogonal(n, 4)
        a = (q * torch.logspace(0, -16, n, dtype=torch.float64)) @ q.T
        t = (p * torch.linspace(0.5, 2, n, dtype=torch.float64)) @ p.T
        a, t = (a + a.T) / 2, (t + t.T) / 2
        b = t @ a @ t
        return Pair(a, (b + b.T) / 2, float((t * a).sum()))
    count = (few or n // 2) if case == "few samples" else 5 * n
    x, y = features(count, n, seed=1), features(count, n, seed=2, mean=0.1)
    if case == "collapsed":
        # As large as x, and 1e-7 wide beyond its 20 directions.
        y = 0.03 * normal(count, 20, seed=5) @ normal(20, n, seed=6)
        y = y + 1e-7 * normal(count, n, seed=7)
    a, b = covariance_of(over_root(x)), covariance_of(over_root(y))
    return Pair(a, b, trace_of_samples(x, y), x, y)
