"""A = L L^T of a positive semi-definite matrix, whatever its rank, with L graded downwards.

Graded: the columns of L shrink from left to right. LAPACK's tridiagonalisation, which reads the
lower triangle, then keeps the digits of the small eigenvalues of L^T B L; in the other order half
of them are lost (1e-8 instead of 1e-16 in the trace of the root).

Rank: eigenvalues up to n eps of the largest are round-off of the matrix as it is stored. They are
dropped, because their square roots, 1e-8, would be mistaken for signal. Cholesky sees more: the
round-off that remains of a deficient matrix has diagonal entries of both signs, while weak signal
(a collapsed generator, 1e-7 wide) leaves only positive ones; that is kept down to 4 eps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast.linalg.definite import NotDefinite

EPS = torch.finfo(torch.float64).eps
_PANEL = 64
_UPWARDS = 1e-4  # a pivot this far below a later one: eigenvalues would lose digits to the order


def cholesky(a: Tensor) -> Tensor | None:
    """Lower triangular factor(s), or None unless all are definite beyond doubt and graded."""
    factor, info = torch.linalg.cholesky_ex(a)
    if bool(info.any()):
        return None
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    top = a.diagonal(dim1=-2, dim2=-1).amax(-1)
    doubtful = pivots.amin(-1) <= a.shape[-1] * EPS * top
    largest_after = pivots.flip(-1).cummax(-1).values.flip(-1)
    upwards = (pivots / largest_after).amin(-1) < _UPWARDS
    return None if bool((doubtful | upwards).any()) else factor


def by_rank(a: Tensor, tolerance: float) -> Tensor:
    """A graded factor (n, r) of one matrix, (..., n, n) with columns of zeros for a batch."""
    if a.dim() == 2 and a.shape[-1] > _PANEL:
        factor = pivoted_cholesky(a)
        if factor is not None:
            return factor
    return by_eigenvectors(a, tolerance)


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


def pivoted_cholesky(a: Tensor) -> Tensor | None:
    """Cholesky with complete pivoting of one matrix, stopped at its rank: r^2 n flops.

    torch has none. Panels of 64 columns are built one column at a time, with the largest remaining
    diagonal entry as the pivot; the rest is updated by one matrix product per panel. Returns None
    where what remains is not the round-off of a semi-definite matrix (float32 noise, or a matrix
    that is indefinite): eigenvalues have to decide there.
    """
    n = a.shape[-1]
    unit = EPS * float(a.diagonal().amax())
    cut, floor = n * unit, 4 * unit
    factor = a.new_zeros(n, n)
    left = torch.arange(
        n, device=a.device
    )  # the rows that have not been pivots, and what remains of them:
    rest = a
    rank = 0
    while len(left):
        width = min(_PANEL, len(left))
        panel = a.new_zeros(len(left), width)
        diagonal = rest.diagonal().clone()
        open_ = a.new_ones(len(left))  # 0 at the pivots of this panel
        pivots: list[int] = []
        for j in range(width):
            value, index = diagonal.max(0)
            top = value.item()
            if top <= cut and (top <= floor or float(diagonal[open_ > 0].amin()) <= 0):
                break
            pivot = int(index)
            column = torch.addmv(rest[pivot], panel[:, :j], panel[pivot, :j], alpha=-1)
            column.mul_(open_).div_(top**0.5)
            panel[:, j] = column
            diagonal.addcmul_(column, column, value=-1)
            diagonal[pivot] = -torch.inf
            open_[pivot] = 0
            pivots.append(pivot)
        done = len(pivots)
        factor[left, rank : rank + done] = panel[:, :done]
        rank += done
        keep = torch.ones_like(left, dtype=torch.bool)
        keep[pivots] = False
        below = panel[keep, :done]
        rest = torch.addmm(rest[keep][:, keep], below, below.T, alpha=-1)
        left = left[keep]
        if len(left) and float(rest.diagonal().amin()) < -8 * cut:
            return None
        if done < width:
            break
    if len(left) and float(rest.abs().amax()) > 8 * cut:
        return None
    return factor[:, : max(1, rank)]
