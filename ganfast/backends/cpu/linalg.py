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
    roots, definite = torch.empty_like(a), _BOOL.new_empty(len(a))
    for i in _cpu.batch_sqrtm(a, tolerance, _SWEEPS, roots, definite):
        # Never seen; LAPACK raises where it does not converge either.
        roots[i], definite[i] = reference.linalg.batch_sqrtm(a[i], tolerance)
    return roots, definite


def batch_trace_sqrtm(
    a: Tensor, b: Tensor, tolerance_a: float, tolerance_b: float
) -> tuple[Tensor, Tensor]:
    """As in the reference, for contiguous float64."""
    traces, definite = a.new_empty(len(a)), _BOOL.new_empty(len(a))
    for i in _cpu.batch_trace_sqrtm(a, b, tolerance_a, tolerance_b, _SWEEPS, traces, definite):
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
    return _cpu.pivoted_panel(rest, order, panel, factor, start, cut, floor, many)


def symmetry(a: Tensor) -> tuple[Tensor, Tensor]:
    """As in the reference."""
    # A transposed matrix in memory has the same facts.
    a = (a.mT if a.mT.is_contiguous() else a).contiguous()
    facts = torch.empty(*a.shape[:-2], 2, dtype=torch.float64, device="cpu")
    _cpu.symmetry(a, facts)
    return facts[..., 0], facts[..., 1]
