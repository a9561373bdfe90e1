"""Two large covariances: the trace of the root of their product, in float64."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.contest import Contest, Entry
from benchmarks.limit import multiplying
from benchmarks.linalg import rivals
from benchmarks.names import GANFAST
from benchmarks.ours import op
from tests import gaussians

TOLERANCE = dict.fromkeys(gaussians.CASES, 1e-12) | {"collapsed": 1e-8}
"""Rounding the covariance of a collapsed generator takes the rest; features.py has the way out."""

PATIENCE = 4.0
"""Seconds of one rival: a call of the slowest is longer, so it is made once."""

FEW = 1000
"""Samples a side, of 2,048 features."""

_latest: list[tuple[str, int, gaussians.Pair]] = []


def pair_of(case: str, n: int) -> gaussians.Pair:
    """Built once for all rows that need it: twenty thousand samples take seconds."""
    if not _latest or _latest[0][:2] != (case, n):
        _latest.clear()
        gc.collect()
        _latest.append((case, n, gaussians.pair(case, n, few=FEW if n > FEW else None)))
    return _latest[0][2]


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


@dataclass(frozen=True)
class Pair:
    case: str
    n: int

    @property
    def name(self) -> str:
        return f"trace-{self.case.replace(' ', '-')}-{self.n}"

    def contest(self) -> Contest:
        pair = pair_of(self.case, self.n)
        a, b = pair.a, pair.b
        arrays = a.numpy(), b.numpy()
        slow = self.n > 1000

        def error(_: str, found: Any) -> float:
            return abs(float(found) - pair.trace) / pair.trace

        def rival(function: Any, *given: Any) -> Entry:
            return Entry(lambda: lambda: function(*given), slow=slow)

        ranks = [self.n if x is None else min(self.n, len(x) - 1) for x in (pair.x, pair.y)]
        return Contest(
            section=f"Tr (a b)^1/2, n = {self.n}, float64",
            label=self.case,
            entries={
                rivals.SCIPY: rival(rivals.scipy_trace, *arrays),
                rivals.EIGVALS: rival(rivals.eigvals_trace, a, b),
                f"{rivals.NEWTON_SCHULZ} (piq)": rival(rivals.newton_schulz_trace, a, b),
                rivals.EIGH: rival(rivals.eigh_trace, a, b),
                GANFAST: Entry(lambda: self._ours(a, b), TOLERANCE[self.case]),
            },
            error=error,
            yard=multiplying(self.n, torch.float64),
            cost=flops(self.n, *ranks),
            seconds=0.0,
            rounds=5,
            each=PATIENCE,
        )

    @staticmethod
    def _ours(a: torch.Tensor, b: torch.Tensor) -> Any:
        trace_sqrtm = op("linalg.trace_sqrtm")
        return lambda: trace_sqrtm(a, b)
