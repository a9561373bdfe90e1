"""Many small matrices at once: roots, and traces of roots of products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.contest import Contest, Entry, largest
from benchmarks.limit import multiplying
from benchmarks.linalg import rivals
from benchmarks.names import COMPILED, GANFAST
from benchmarks.ours import op

SHAPES = ((4096, 8), (1024, 16), (512, 32), (128, 64), (32, 128))
NEWTON_SCHULZ = f"{rivals.NEWTON_SCHULZ}, 10 steps"

ROOT_FLOPS, TRACE_FLOPS = 10.0, 8 / 3
"""Times n^3. A root: eigenvectors 9, and half of the product that they are joined by. A trace: as
in pairs.py, without eigenvectors."""


def covariances(count: int, n: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Well-conditioned, as layers that whiten meet them."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 2 * n, n, generator=generator, dtype=torch.float64)
    return (rows.mT @ rows / (2 * n)).to(dtype)


@dataclass(frozen=True)
class Roots:
    count: int
    n: int
    dtype: torch.dtype

    @property
    def name(self) -> str:
        return f"root-{self.count}x{self.n}-{_short(self.dtype)}"

    def contest(self) -> Contest:
        a = covariances(self.count, self.n, self.dtype, seed=1)
        exact = rivals.eigh_root(a.double())

        def ours() -> Any:
            return partial(op("linalg.sqrtm"), a)

        def compiled() -> Any:
            return partial(torch.compile(rivals.eigh_root, dynamic=False, fullgraph=True), a)

        entries = {
            rivals.EIGH: Entry(lambda: partial(rivals.eigh_root, a), _tolerance(self.dtype)),
            NEWTON_SCHULZ: Entry(lambda: partial(rivals.newton_schulz_root, a, 10)),
        }
        if self.dtype == torch.float32:  # it calls the same eigh: one precision shows that
            entries[COMPILED] = Entry(compiled, _tolerance(self.dtype), optional=True)
        return Contest(
            section="sqrtm in batches",
            label=f"{self.count} x {self.n} x {self.n}, {_short(self.dtype)}",
            entries={**entries, GANFAST: Entry(ours, _tolerance(self.dtype))},
            error=lambda _, found: largest(found, exact),
            yard=multiplying(1024, self.dtype),
            cost=ROOT_FLOPS * self.count * self.n**3,
            seconds=1.0,
        )


@dataclass(frozen=True)
class Traces:
    count: int
    n: int
    dtype: torch.dtype

    @property
    def name(self) -> str:
        return f"traces-{self.count}x{self.n}-{_short(self.dtype)}"

    def contest(self) -> Contest:
        a, b = (covariances(self.count, self.n, self.dtype, seed=seed) for seed in (1, 2))
        exact = rivals.eigh_trace(a.double(), b.double())

        def ours() -> Any:
            return partial(op("linalg.trace_sqrtm"), a, b)

        def eigh() -> Any:
            return partial(rivals.eigh_trace, a, b)

        return Contest(
            section="trace_sqrtm in batches",
            label=f"{self.count} x {self.n} x {self.n}, {_short(self.dtype)}",
            entries={
                f"{rivals.EIGH}, eigvalsh": Entry(eigh, _tolerance(self.dtype)),
                rivals.EIGVALS: Entry(lambda: partial(rivals.eigvals_trace, a, b)),
                GANFAST: Entry(ours, _tolerance(self.dtype)),
            },
            error=lambda _, found: largest(found, exact),
            yard=multiplying(1024, self.dtype),
            cost=TRACE_FLOPS * self.count * self.n**3,
            seconds=1.0,
            each=1.0,
        )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _tolerance(dtype: torch.dtype) -> float:
    """eigh's own error is 1e-6 or 1e-15 of the largest element; a wrong root is off by 1e-1."""
    return 2e-5 if dtype == torch.float32 else 1e-12
