"""Two large covariances: the trace of the root of their product, in float64."""

from __future__ import annotations

import gc
import inspect
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ganfast import linalg
from ganfast.bench.case import GANFAST, Case, ErrorOf, Provider, calling, multiplying
from ganfast.bench.matrices import (
    EIGH,
    EIGVALS,
    NEWTON_SCHULZ,
    covariances,
    eigh_trace,
    eigvals_trace,
    newton_schulz_root,
)
from testing import gaussians

SCIPY = "scipy sqrtm (pytorch-fid)"

TOLERANCE = dict.fromkeys(gaussians.CASES, 1e-12) | {"collapsed": 1e-8}
"""Rounding the covariance of a collapsed generator takes the rest; features.py has the way out."""

PATIENCE = 4.0
"""Seconds of one rival: a call of the slowest is longer, so it is made twice."""

FEW = 1000
"""Samples a side, of 2,048 features, where they are few."""

_latest: list[tuple[str, int, gaussians.Pair]] = []


def pair_of(case: str, n: int) -> gaussians.Pair:
    """Built once for all rows that need it: twenty thousand samples take seconds."""
    if not _latest or _latest[0][:2] != (case, n):
        _latest.clear()
        gc.collect()
        _latest.append((case, n, gaussians.pair(case, n, few=samples("few samples", n))))
    return _latest[0][2]


def samples(case: str, n: int) -> int:
    """How many there are a side."""
    return min(FEW, n // 2) if case == "few samples" else 5 * n


def scipy_trace(a: Tensor, b: Tensor) -> float:
    """pytorch-fid's: the root of the product, its real part kept."""
    from scipy import linalg as scipy_linalg

    # SciPy 1.18 has no `disp`, with which sqrtm returned a pair.
    product = a.numpy().dot(b.numpy())
    if "disp" in inspect.signature(scipy_linalg.sqrtm).parameters:
        root, _ = scipy_linalg.sqrtm(product, disp=False)
    else:
        root = scipy_linalg.sqrtm(product)
    return float(np.trace(root.real))


def newton_schulz_trace(a: Tensor, b: Tensor) -> Tensor:
    return newton_schulz_root(a @ b, iterations=100, tolerance=1e-5).trace()


def flops(n: int, rank1: int, rank2: int) -> float:
    """What the cheapest exact way needs.

    Full rank: Cholesky n^3 / 3, L^T b L n^3, tridiagonalisation 4/3 n^3, as LAPACK's sygv has it;
    less: both factors by pivoted Cholesky, their product, its square and the same at its side.
    """
    full = 8 / 3 * n**3
    factors = sum(r * r * n - 2 / 3 * r**3 for r in (rank1, rank2))
    side = min(rank1, rank2)
    reduced = factors + 2 * n * rank1 * rank2 + side**2 * max(rank1, rank2) + 4 / 3 * side**3
    return min(full, reduced)


def trace(case: str, n: int) -> Case:
    """The pair ``case`` of gaussians.CASES."""
    slow = n > 1000

    def error_of(a: Tensor, b: Tensor) -> ErrorOf:
        exact = pair_of(case, n).trace
        return lambda _, found: abs(float(found) - exact) / exact

    rank = n if case == "condition 1e16" else min(n, samples(case, n) - 1)
    rivals = {
        SCIPY: scipy_trace,
        EIGVALS: eigvals_trace,
        f"{NEWTON_SCHULZ} (piq)": newton_schulz_trace,
        EIGH: eigh_trace,
    }
    return Case(
        name=f"trace-{case.replace(' ', '-')}-{n}",
        section=f"Tr (a b)^1/2, n = {n}, float64",
        label=case,
        inputs=lambda device, seed: (pair_of(case, n).a, pair_of(case, n).b),
        providers={
            **{name: Provider(calling(each), slow=slow) for name, each in rivals.items()},
            GANFAST: Provider(calling(linalg.trace_sqrtm), TOLERANCE[case]),
        },
        error_of=error_of,
        limit=partial(multiplying, n, torch.float64, flops(n, rank, rank)),
        seconds=0.0,
        rounds=5,
        patience=PATIENCE,
    )


def on_the_host(n: int) -> Case:
    """A pair that lies on a GPU: SciPy's root of the product on the host, and the trace there."""

    def scipy(a: Tensor, b: Tensor) -> float:
        return scipy_trace(a[0].cpu(), b[0].cpu())

    def error_of(a: Tensor, b: Tensor) -> ErrorOf:
        exact = float(eigh_trace(a, b)[0])
        return lambda _, found: abs(float(found) - exact) / exact

    return Case(
        name=f"trace-host-{n}",
        section=f"Tr (a b)^1/2, n = {n}, float64, of matrices on the GPU",
        label="full rank",
        inputs=lambda device, seed: tuple(
            covariances(1, n, torch.float64, side, device) for side in (1, 2)
        ),
        providers={
            f"{SCIPY}, on the host": Provider(calling(scipy), slow=True),
            GANFAST: Provider(calling(linalg.trace_sqrtm), 1e-9),
        },
        error_of=error_of,
        limit=partial(multiplying, n, torch.float64, flops(n, n, n)),
        seconds=0.0,
        rounds=1,
        rotates=False,
        setting_up=20.0,  # a call of SciPy's at 2,048
    )
