"""Matrix square roots and Fréchet distances.

The trace of the root of a product of covariances, with the relative error against a trusted value
(samples: QR and SVD; condition 1e16: the answer is known by construction); batches of roots and
traces, with the largest error against float64; statistics of features, with the error of the
covariance and the memory that a provider takes beside the features. No rival has to pass a gate
there: their errors are what the table is about. The limit is the number of flops that the cheapest
known exact way needs, at the rate of torch's matrix product.

On a GPU one row has SciPy's root on the processor, the way there and the call.
"""

from __future__ import annotations

import torch

from benchmarks.harness import Harness
from benchmarks.linalg.features import against_reference, features
from benchmarks.linalg.pairs import on_the_host, trace
from benchmarks.linalg.statistics import statistics
from ganfast.bench.case import COMPILED, Case, without
from ganfast.bench.matrices import EIGVALS, roots, traces

N = 2048
SHAPES = ((4096, 8), (1024, 16), (512, 32), (128, 64), (32, 128))


def cases(quick: bool, device: str) -> list[Case]:
    if device != "cpu":
        return on_gpu(quick)
    dtypes = (torch.float32, torch.float64)
    batches = [op(*shape, dtype) for op in (roots, traces) for dtype in dtypes for shape in SHAPES]
    if quick:
        return [
            *(trace(case, 96) for case in ("full rank", "condition 1e16")),
            features("collapsed", 96),
            against_reference(24, 96),
            roots(64, 8, torch.float32),
            traces(64, 8, torch.float64),
            statistics(2000, 128),
        ]
    return [
        trace("full rank", N),
        trace("few samples", N),
        features("few samples", N),
        trace("condition 1e16", N),
        trace("collapsed", N),
        features("collapsed", N),
        against_reference(256, N),
        *batches,
        statistics(50_000, N),
    ]


def on_gpu(quick: bool) -> list[Case]:
    """The pair of an FID, and batches from 4 x 4 to 128 x 128."""
    if quick:
        small = roots(8, 4, torch.float32), traces(8, 4, torch.float64)
        return [traces(1, 16, torch.float64), on_the_host(32), *small]
    single, double = torch.float32, torch.float64
    shapes = ((16_384, 4), *SHAPES)
    return [
        traces(1, N, double),
        roots(*shapes[0], single),
        # They call the same eigh, and eigvals works on one matrix after another.
        *(without(roots(*shape, single), COMPILED) for shape in shapes[1:]),
        on_the_host(N),
        *(without(traces(*shape, double), EIGVALS) for shape in reversed(shapes)),
        *(roots(*shape, double) for shape in reversed(shapes)),
    ]


def test_linalg(benchmark, harness: Harness, case: Case, graph: bool, provider: str) -> None:
    harness.record(benchmark, case, graph, provider)
