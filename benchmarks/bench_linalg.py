"""Matrix square roots and Fréchet distances.

The trace of the root of a product of covariances, with the relative error against a trusted value
(samples: QR and SVD; condition 1e16: the answer is known by construction); batches of roots and
traces, with the largest error against float64; statistics of features, with the error of the
covariance and the memory that a provider takes beside the features. No rival has to pass a gate
there: their errors are what the table is about. The limit is the number of flops that the cheapest
known exact way needs, at the rate of torch's matrix product.
"""

from __future__ import annotations

import torch

from benchmarks.contest import Case, hold
from benchmarks.linalg.batches import SHAPES, Roots, Traces
from benchmarks.linalg.features import AgainstReference, Features
from benchmarks.linalg.pairs import Pair
from benchmarks.linalg.statistics import Streaming

N = 2048


def chosen(quick: bool) -> list[Case]:
    if quick:
        return [
            *(Pair(case, 96) for case in ("full rank", "condition 1e16")),
            Features("collapsed", 96),
            AgainstReference(24, 96),
            Roots(64, 8, torch.float32),
            Traces(64, 8, torch.float64),
            Streaming(2000, 128),
        ]
    dtypes = (torch.float32, torch.float64)
    return [
        Pair("full rank", N),
        Pair("few samples", N),
        Features("few samples", N),
        Pair("condition 1e16", N),
        Pair("collapsed", N),
        Features("collapsed", N),
        AgainstReference(256, N),
        *(Roots(count, n, dtype) for dtype in dtypes for count, n in SHAPES),
        *(Traces(count, n, dtype) for dtype in dtypes for count, n in SHAPES),
        Streaming(50_000, N),
    ]


def test_linalg(benchmark, case: Case, is_quick: bool) -> None:
    hold(benchmark, case, is_quick)
