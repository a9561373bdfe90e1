"""Linear algebra that LAPACK, as torch has it, lacks; and batches of roots."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast import _cpu, reference

BATCH_LIMIT = {"sqrtm": 128, "trace_sqrtm": 128}
"""Up to this n a thread for each matrix is faster than LAPACK with all threads for one."""

_SWEEPS = 40  # per eigenvalue; two are usual, and LAPACK stops at 30
_BOOL = torch.empty(0, dtype=torch.bool, device="cpu")


def batch_sqrtm(a: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """As in the reference, for contiguous float64."""
    count, n = a.shape[:2]
    roots, definite = torch.empty_like(a), _BOOL.new_empty(count)
    gave_up = _cpu.batch_sqrtm(
        a.data_ptr(),
        roots.data_ptr(),
        definite.data_ptr(),
        count,
        n,
        tolerance,
        _SWEEPS,
        torch.get_num_threads(),
    )
    for i in gave_up:  # never seen; LAPACK raises where it does not converge either
        roots[i], definite[i] = reference.linalg.batch_sqrtm(a[i], tolerance)
    return roots, definite


def batch_trace_sqrtm(
    a: Tensor, b: Tensor, tolerance_a: float, tolerance_b: float
) -> tuple[Tensor, Tensor]:
    """As in the reference, for contiguous float64."""
    count, n = a.shape[:2]
    traces, definite = a.new_empty(count), _BOOL.new_empty(count)
    gave_up = _cpu.batch_trace_sqrtm(
        a.data_ptr(),
        b.data_ptr(),
        traces.data_ptr(),
        definite.data_ptr(),
        count,
        n,
        tolerance_a,
        tolerance_b,
        _SWEEPS,
        torch.get_num_threads(),
    )
    for i in gave_up:
        traces[i], definite[i] = reference.linalg.batch_trace_sqrtm(
            a[i], b[i], tolerance_a, tolerance_b
        )
    return traces, definite


def pivoted_panel(
    rest: Tensor,
    order: Tensor,
    panel: Tensor,
    factor: Tensor,
    start: int,
    cut: float,
    floor: float,
    many: int,
) -> int:
    """As in the reference."""
    return _cpu.pivoted_panel(
        rest.data_ptr(),
        order.data_ptr(),
        panel.data_ptr(),
        factor.data_ptr(),
        len(rest),
        start,
        len(panel),
        cut,
        floor,
        many,
    )


def symmetry(a: Tensor) -> tuple[Tensor, Tensor]:
    """As in the reference."""
    # A transposed matrix in memory has the same facts.
    a = (a.mT if a.mT.is_contiguous() else a).contiguous()
    n = a.shape[-1]
    facts = torch.empty(*a.shape[:-2], 2, dtype=torch.float64, device="cpu")
    threads = torch.get_num_threads()
    _cpu.symmetry(a.data_ptr(), facts.numel() // 2, n, threads, facts.data_ptr())
    return facts[..., 0], facts[..., 1]
