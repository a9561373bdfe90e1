"""Mean and covariance of many features: time, error, and the memory beside the features."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.contest import Contest, Entry
from benchmarks.limit import multiplying
from benchmarks.names import GANFAST
from benchmarks.ours import op

ROOT = Path(__file__).resolve().parent.parent.parent
BATCH = 100
NP_COV, TORCH_COV, TORCH_COV_WIDE = "np.cov", "torch.cov, float32", "torch.cov, float64"

Statistics = tuple[Any, Any]


def features(count: int, dim: int) -> Tensor:
    """Fixed random float32 rows around 0.5."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, dim, generator=generator).add_(0.5)


def np_cov(x: Tensor) -> Statistics:
    """pytorch-fid's: both of the whole array."""
    array = x.numpy()
    return np.mean(array, axis=0), np.cov(array, rowvar=False)


def torch_cov(x: Tensor) -> Statistics:
    return x.mean(0), torch.cov(x.mT)


def torch_cov_wide(x: Tensor) -> Statistics:
    return torch_cov(x.double())


def streamed(x: Tensor) -> Statistics:
    """ganfast's, as features come out of a network."""
    moments = op("metrics.Moments")(x.shape[1])
    for rows in x.split(BATCH):
        moments.update(rows)
    return moments.mean, moments.covariance


PROVIDERS: dict[str, Callable[[Tensor], Statistics]] = {
    NP_COV: np_cov,
    TORCH_COV: torch_cov,
    TORCH_COV_WIDE: torch_cov_wide,
    GANFAST: streamed,
}


def two_pass(x: Tensor) -> Tensor:
    """The covariance in float64, centred before it is squared, piece by piece."""
    mean = sum(piece.double().sum(0) for piece in x.split(4096)) / len(x)
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for piece in x.split(4096):
        centred = piece.double() - mean
        total.addmm_(centred.mT, centred)
    return total / (len(x) - 1)


def peak_mb(provider: str, count: int, dim: int) -> float:
    """The most memory that a provider needs beside the features, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.linalg.memory", provider, str(count), str(dim)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


@dataclass(frozen=True)
class Streaming:
    count: int
    dim: int

    @property
    def name(self) -> str:
        return f"statistics-{self.count}x{self.dim}"

    def contest(self) -> Contest:
        x = features(self.count, self.dim)
        exact = two_pass(x)

        def error(_: str, found: Statistics) -> float:
            off = (torch.as_tensor(found[1]).double() - exact).abs().max()
            return float(off / exact.diagonal().max())

        def entry(function: Any, tolerance: float | None = None) -> Entry:
            return Entry(lambda: lambda: function(x), tolerance, slow=self.count > 10_000)

        entries = {name: entry(function) for name, function in PROVIDERS.items()}
        entries[GANFAST] = entry(streamed, 1e-12)
        return Contest(
            section="Mean and covariance of float32 features",
            label=f"{self.count:,} x {self.dim}, ganfast in batches of {BATCH}",
            entries=entries,
            error=error,
            yard=multiplying(self.dim, torch.float64),
            cost=float(self.count) * self.dim**2,  # the half that a symmetric product needs
            seconds=0.0,
            rounds=4,
            each=6.0,
            extra={"memory": {name: peak_mb(name, self.count, self.dim) for name in PROVIDERS}},
        )
