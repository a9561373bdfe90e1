"""Batches of small matrices in shared memory, where the reference decomposes one after another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganfast.backends.cuda.module import launch, processors, shared_memory
from ganfast.reference import linalg as reference

_LARGEST = 128
BATCH_LIMIT = {"sqrtm": _LARGEST, "trace_sqrtm": _LARGEST}
"""The largest n for which a batch comes here. (Reasoned, not yet measured.)"""

_FILE = "batch_linalg.cu"
_WARPS = 4  # matrices of a block, where a warp has one
_THREADS = {2: 32 * _WARPS, 4: 128, 8: 512}
"""By the lanes that share a pair of columns: the size of a block."""


def batch_sqrtm(a: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """As in the reference. Waits for the device once, to see what failed."""
    plan = _plan(a)
    if plan is None:
        return _decomposed(a, tolerance)
    a = a.contiguous()
    roots, failed = torch.empty_like(a), _flags(a)
    _launch("sqrtm", plan, a, roots, failed)
    definite = torch.ones_like(failed, dtype=torch.bool)
    again = failed.nonzero().squeeze(1)
    if len(again):
        roots[again], definite[again] = _decomposed(a[again], tolerance)
    return roots, definite


def _decomposed(a: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    roots, definite = reference.batch_sqrtm(a.double(), tolerance)
    return roots.to(a.dtype), definite


def batch_trace_sqrtm(
    a: Tensor, b: Tensor, tolerance_a: float, tolerance_b: float
) -> tuple[Tensor, Tensor]:
    """As in the reference. Waits once, to see what failed."""
    plan = _plan(a)
    if plan is None:
        return reference.batch_trace_sqrtm(a, b, tolerance_a, tolerance_b)
    a, b = a.contiguous(), b.contiguous()
    count, n = a.shape[:2]
    traces, failed = a.new_empty(count, dtype=torch.float64), _flags(a)
    scratch = a.new_empty(min(count, plan.resident), n, n, dtype=torch.float64)
    _launch("trace_sqrtm", plan, a, b, traces, failed, scratch)
    definite = torch.ones_like(failed, dtype=torch.bool)
    again = failed.nonzero().squeeze(1)
    if len(again):
        traces[again], definite[again] = reference.batch_trace_sqrtm(
            a[again], b[again], tolerance_a, tolerance_b
        )
    return traces, definite


class _Plan(NamedTuple):
    lanes: int
    groups: int  # matrices that a block has at a time
    shared_bytes: int
    resident: int  # matrices that the device has at a time


def _plan(a: Tensor) -> _Plan | None:
    """How batches of such matrices are spread over the device, None where they do not fit."""
    count, n = a.shape[:2]
    if count == 0 or not 0 < n <= _LARGEST:
        return None
    lanes = 2 if n <= 32 else 4 if n <= 64 else 8
    groups = _WARPS if lanes == 2 else 1
    # jacobi.h: the matrix by columns of `leading` numbers, the pivot, and the order of the rows.
    leading = n + (lanes - n) % 16
    shared_bytes = 8 * groups * (n * leading + 2 + (n + 1) // 2)
    most = shared_memory(a.device)
    if shared_bytes > most:
        return None
    blocks = processors(a.device) * max(1, min(most // shared_bytes, 512 // _THREADS[lanes]))
    return _Plan(lanes, groups, shared_bytes, blocks * groups)


def _flags(a: Tensor) -> Tensor:
    return a.new_empty(len(a), dtype=torch.int32)


def _launch(op: str, plan: _Plan, a: Tensor, *rest: Tensor) -> None:
    count, n = a.shape[:2]
    groups = min(plan.resident, count)
    launch(
        _FILE,
        f"{op}_{plan.lanes}_{str(a.dtype).removeprefix('torch.')}",
        -(-groups // plan.groups),
        _THREADS[plan.lanes],
        (a, *rest, np.int64(count), np.int32(n)),
        device=a.device,
        shared_bytes=plan.shared_bytes,
    )
