"""A = L L^T of a positive semi-definite matrix, whatever its rank, with L graded downwards.

Graded: the columns of L shrink from left to right. LAPACK's tridiagonalisation, which reads the
lower triangle, then keeps the digits of the small eigenvalues of L^T B L; in the other order half
of them are lost (1e-8 instead of 1e-16 in the trace of the root).

Rank: eigenvalues up to n eps of the largest are round-off of the matrix as it is stored. They are
dropped, because their square roots, 1e-8, would be mistaken for signal. Cholesky sees more: the
round-off that remains of a deficient matrix has diagonal entries of both signs, while weak signal
(a collapsed generator, 1e-7 wide) leaves only positive ones; that is kept down to 4 eps. Of fewer
than 16 entries all are positive by chance too often: they are dropped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast._dispatch import serve
from ganfast.linalg.definite import NotDefinite
from ganfast.linalg.inputs import EPS

BLOCK = 256
"""Columns that one matrix product takes at a time: few enough that halves of matrices are skipped,
enough for the product to run at its full rate."""

_PANEL = 64
_MANY = 16
_UPWARDS = 1e-4  # a pivot this far below a later one: eigenvalues would lose digits to the order


def cholesky(a: Tensor) -> Tensor | None:
    """Lower triangular factor(s), or None unless all are definite beyond doubt and graded.

    Only the lower triangle is read, and, in a matrix of more than one BLOCK, only that of the
    result means something.
    """
    least = a.shape[-1] * EPS * a.diagonal(dim1=-2, dim2=-1).amax(-1)
    if a.dim() == 2 and a.is_cpu and a.shape[-1] > BLOCK:
        factor = _cholesky_in_place(a.clone(memory_format=torch.contiguous_format), least)
        if factor is None:
            return None
    else:
        factor, info = torch.linalg.cholesky_ex(a)
        if bool(info.any()):
            return None
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    doubtful = pivots.amin(-1) <= least
    largest_after = pivots.flip(-1).cummax(-1).values.flip(-1)
    upwards = (pivots / largest_after).amin(-1) < _UPWARDS
    return None if bool((doubtful | upwards).any()) else factor


def _cholesky_in_place(a: Tensor, least: Tensor) -> Tensor | None:
    """As LAPACK's potrf, but it stops at the first block with a pivot of at most ``least``, and
    neither copies the matrix nor clears the other triangle, which takes torch as long."""
    n = len(a)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        corner, below = a[start:stop, start:stop], a[stop:, start:stop]
        block, info = torch.linalg.cholesky_ex(corner)
        if bool(info) or bool(block.diagonal().amin().square() <= least):
            return None
        corner.copy_(block)
        below.copy_(torch.linalg.solve_triangular(block.mT, below, upper=True, left=False))
        for column in range(stop, n, BLOCK):
            rows = below[column - stop :]
            a[column:, column : column + BLOCK].addmm_(rows, rows[:BLOCK].mT, alpha=-1)
    return a


def by_rank(a: Tensor, tolerance: float) -> Tensor:
    """A graded factor (n, r) of one matrix, (..., n, n) with columns of zeros for a batch."""
    return by_rank_in_order(a, tolerance)[0]


def by_rank_in_order(a: Tensor, tolerance: float) -> tuple[Tensor, Tensor | None]:
    """by_rank, and the order of the factor's rows in which it is triangular, if there is one."""
    if a.dim() == 2 and a.shape[-1] > _PANEL:
        found = pivoted_cholesky(a)
        if found is not None:
            return found
    return by_eigenvectors(a, tolerance), None


def by_eigenvectors(a: Tensor, tolerance: float) -> Tensor:
    """V sqrt(w), largest first. Raises NotDefinite below -tolerance of the largest eigenvalue."""
    w, v = torch.linalg.eigh(a)
    top = w.abs().amax(-1, keepdim=True)
    if bool((w[..., :1] < -tolerance * top).any()):
        raise NotDefinite
    root = torch.where(w > a.shape[-1] * EPS * top, w, 0).clamp(min=0).sqrt()
    factor = (v * root[..., None, :]).flip(-1)
    if a.dim() == 2:
        return factor[:, : max(1, int((root > 0).sum()))]
    return factor


def pivoted_cholesky(a: Tensor) -> tuple[Tensor, Tensor] | None:
    """Cholesky with complete pivoting of one matrix, stopped at its rank r: r^2 n flops.

    Returns the factor (n, r) and the order of pivots (n): factor[order] is lower triangular. Panels
    of 64 columns, each followed by one matrix product for all that is left. Returns None where what
    remains is not the round-off of a semi-definite matrix (float32 noise, or a matrix that is
    indefinite): eigenvalues have to decide there.
    """
    n = a.shape[-1]
    unit = EPS * float(a.diagonal().amax())
    cut, floor = n * unit, 4 * unit
    pivoted_panel = serve("pivoted_panel", (a,)).pivoted_panel
    rest = a.clone(memory_format=torch.contiguous_format)
    order = torch.arange(n, device=a.device)
    factor, panel = a.new_zeros(n, n), a.new_zeros(_PANEL, n)
    rank, many = 0, _MANY
    while rank < n:
        done = pivoted_panel(rest, order, panel, factor, rank, cut, floor, many)
        rank += done
        if done and float(panel[done - 1, rank - 1]) ** 2 <= cut:
            many = 0  # it is weak signal, to the last entry
        left = rest[rank:, rank:]
        columns = panel[:done, rank:]
        left.addmm_(columns.mT, columns, alpha=-1)
        if rank < n and float(left.diagonal().amin()) < -8 * cut:
            return None
        if done < _PANEL:
            break
    if rank < n and max(map(abs, map(float, left.aminmax()))) > 8 * cut:
        return None
    return factor[: max(1, rank)].mT, order
