"""Mean and covariance of many features, with the memory that a provider takes beside them.

    python -m benchmarks.linalg.statistics PROVIDER COUNT DIM

prints the MB that one provider needs at its peak. A high-water mark never falls, so each needs a
process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import peak_kib
from ganfast.bench import evaluation
from ganfast.bench.case import Case, normal
from ganfast.bench.evaluation import Statistics

ROOT = Path(__file__).resolve().parent.parent.parent


def np_cov(x: Tensor) -> Statistics:
    """pytorch-fid's: both of the whole array."""
    array = x.numpy()
    return np.mean(array, axis=0), np.cov(array, rowvar=False)


def torch_cov(x: Tensor) -> Statistics:
    return x.mean(0), torch.cov(x.mT)


PEERS = {"np.cov": np_cov, "torch.cov, float32": torch_cov}


def statistics(count: int, dim: int) -> Case:
    case = evaluation.statistics(count, dim, PEERS)
    return replace(
        case,
        after=lambda steps: {"memory": {name: peak_mb(name, count, dim) for name in steps}},
    )


def peak_mb(provider: str, count: int, dim: int) -> float:
    """The most memory that a provider needs beside the features, in a process of its own."""
    command = [sys.executable, "-m", __name__, provider, str(count), str(dim)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main(provider: str, count: int, dim: int) -> None:
    make = statistics(count, dim).providers[provider].make
    make(normal(300, dim, seed=0))()  # libraries, threads and their buffers
    step = make(normal(count, dim, seed=0))
    before = peak_kib()
    step()
    print((peak_kib() - before) * 1024 / 1e6)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
