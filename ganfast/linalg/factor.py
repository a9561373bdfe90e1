"""Tr (A B)^{1/2} as the sum of the roots of the eigenvalues of L^T B L, for a factor A = L L^T.

For one full-rank pair: two Cholesky factorisations (the second only to see whether B has full rank,
2/3 n^3 flops together), the sandwich L^T B L (n^3) and its eigenvalues (4/3 n^3): 3 n^3 in all,
where the eigenvalues of the product A B cost 12 and scipy.linalg.sqrtm about 30. Most of the time
goes to the tridiagonalisation, half of which is bound by memory, not arithmetic.

Graded: the columns of L shrink from left to right. LAPACK's tridiagonalisation, which reads the
lower triangle, then keeps the digits of the small eigenvalues of L^T B L; in the other order half
of them are lost (1e-8 instead of 1e-16 in the trace of the root).

Rank: eigenvalues up to n eps of the largest are round-off of the matrix as it is stored. They are
dropped, because their square roots, 1e-8, would be mistaken for signal. Cholesky sees more: the
round-off that remains of a deficient matrix has diagonal entries of both signs, while weak signal
(a collapsed generator, 1e-7 wide) leaves only positive ones; that is kept down to 4 eps. Where
fewer than 16 entries remain, all are positive by chance too often: they are dropped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast._autograd.closed_form import is_traced
from ganfast._dispatch import serve
from ganfast.linalg.inputs import EPS, NotDefinite

# Columns that one matrix product takes at a time: few enough that halves of matrices are skipped,
# enough for the product to run at its full rate.
_BLOCK = 256
_PANEL = 64  # columns between two products of pivoted Cholesky
_MANY = 16  # fewer entries than this are all positive by chance too often
_UPWARDS = 1e-4  # a pivot this far below a later one: eigenvalues would lose digits to the order


def trace_of_roots(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> tuple[Tensor]:
    """The sum of the roots for a factor of one side: of the deficient side, if there is one."""
    left, right = cholesky(a), cholesky(b)
    if left is not None and right is not None:
        return (roots_of(_triangular_sandwich(left, b)).sum(-1),)
    if right is not None:
        return (roots_of(_deficient_sandwich(a, b, tolerances[0])).sum(-1),)
    if left is not None:
        return (roots_of(_deficient_sandwich(b, a, tolerances[1])).sum(-1),)
    one, _ = rank_revealing_factor(a, tolerances[0])
    two, _ = rank_revealing_factor(b, tolerances[1])
    if one.shape[-1] > two.shape[-1]:
        one, two = two, one
    product = one.mT @ two
    sizes = torch.linalg.vector_norm(product, dim=-1)
    if product.dim() == 2:  # rows from the largest down, the order in which no digit is lost
        sizes, order = sizes.sort(descending=True)
        product = product[order]
    roots = roots_of(_lower_square(product))
    if not is_resolved(roots, sizes):
        roots = torch.linalg.svdvals(product)
    return (roots.sum(-1),)


def roots_of(sandwich: Tensor) -> Tensor:
    """The roots of its eigenvalues, read from its lower triangle alone."""
    return torch.linalg.eigvalsh(sandwich).clamp(min=0).sqrt()


def is_resolved(roots: Tensor, sizes: Tensor) -> bool:
    """Whether squaring a matrix with rows of these sizes left 13 digits of its nuclear norm.

    Ranges that are partly orthogonal leave zeros in the product of two factors, which squaring
    blows up to 1e-8. Entry (i, j) of the square is wrong by eps sizes_i sizes_j. So, counted from
    the largest, root i is wrong by at most sqrt(eps) sizes_i, and only if it is not above that.
    """
    doubt = EPS**0.5 * sizes
    lost = torch.where(roots.flip(-1) > 8 * doubt, 0, doubt).sum(-1)
    return bool((lost <= 1e-13 * roots.sum(-1)).all())


def _deficient_sandwich(a: Tensor, b: Tensor, tolerance: float) -> Tensor:
    """The lower triangle at least of F^T b F for a factor F of ``a``, whatever its rank."""
    factor, order = rank_revealing_factor(a, tolerance)
    if order is None or 2 * factor.shape[-1] < len(order):
        return factor.mT @ (b @ factor)
    return _triangular_sandwich(factor.mT[:, order].mT, b[order[:, None], order])


def _triangular_sandwich(factor: Tensor, b: Tensor) -> Tensor:
    """The lower triangle of L^T b L for a lower triangular L (..., n, r); the rest is undefined.

    n^3 flops for r = n in place of 4 n^3: no block that is known to be zero is multiplied, and only
    the lower triangle of b L is needed, too.
    """
    n, rank = factor.shape[-2:]
    if n <= _BLOCK:
        return factor.mT @ (b @ factor)
    right = torch.empty(*b.shape[:-2], rank, n, dtype=b.dtype, device=b.device)  # (b L)^T
    sandwich = b.new_zeros(*b.shape[:-2], rank, rank)
    for start in range(0, rank, _BLOCK):
        rows = slice(start, min(start + _BLOCK, rank))
        below = factor[..., start:, rows].mT
        torch.matmul(below, b[..., start:, start:], out=right[..., rows, start:])
    for start in range(0, rank, _BLOCK):
        rows = slice(start, min(start + _BLOCK, rank))
        below = factor[..., start:, rows].mT
        left = right[..., : rows.stop, start:].mT
        torch.matmul(below, left, out=sandwich[..., rows, : rows.stop])
    return sandwich


def _lower_square(rows: Tensor) -> Tensor:
    """The lower triangle of rows rows^T in half the flops; the rest is undefined."""
    n = rows.shape[-2]
    if n <= _BLOCK:
        return rows @ rows.mT
    square = rows.new_zeros(*rows.shape[:-1], n)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        done = rows[..., :stop, :].mT
        torch.matmul(rows[..., start:stop, :], done, out=square[..., start:stop, :stop])
    return square


def cholesky(a: Tensor) -> Tensor | None:
    """Lower triangular factor(s), or None unless all are clearly definite and graded.

    Only the lower triangle is read, and only that of the result is defined.
    """
    least = a.shape[-1] * EPS * a.diagonal(dim1=-2, dim2=-1).amax(-1)
    if a.dim() == 2 and a.is_cpu and a.shape[-1] > _BLOCK:
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
    """LAPACK's potrf, but it stops at the first block with a pivot of at most ``least``, and does
    not clear the other triangle, which takes torch as long as the factorisation."""
    n = len(a)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        corner, below = a[start:stop, start:stop], a[stop:, start:stop]
        block, info = torch.linalg.cholesky_ex(corner)
        if bool(info) or bool(block.diagonal().amin().square() <= least):
            return None
        corner.copy_(block)
        below.copy_(torch.linalg.solve_triangular(block.mT, below, upper=True, left=False))
        for column in range(stop, n, _BLOCK):
            rows = below[column - stop :]
            a[column:, column : column + _BLOCK].addmm_(rows, rows[:_BLOCK].mT, alpha=-1)
    return a


def rank_revealing_factor(a: Tensor, tolerance: float) -> tuple[Tensor, Tensor | None]:
    """A graded factor (n, r) of one matrix, or (..., n, n) with columns of zeros for a batch; and
    the order of its rows that makes it triangular, if there is one.

    Raises NotDefinite as eigenvector_factor does.
    """
    pivoted = pivoted_cholesky(a) if a.dim() == 2 and a.shape[-1] > _PANEL else None
    return (eigenvector_factor(a, tolerance), None) if pivoted is None else pivoted


def eigenvector_factor(a: Tensor, tolerance: float) -> Tensor:
    """V sqrt(w), the largest first; NotDefinite if a w is below -tolerance of the largest."""
    w, v = torch.linalg.eigh(a)
    top = w.abs().amax(-1, keepdim=True)
    if not is_traced() and bool((w[..., :1] < -tolerance * top).any()):
        raise NotDefinite
    root = torch.where(w > a.shape[-1] * EPS * top, w, 0).clamp(min=0).sqrt()
    factor = (v * root[..., None, :]).flip(-1)
    if a.dim() == 2 and not is_traced():
        return factor[:, : max(1, int((root > 0).sum()))]
    return factor


def pivoted_cholesky(a: Tensor) -> tuple[Tensor, Tensor] | None:
    """Cholesky with complete pivoting of one matrix, stopped at its rank r: r^2 n flops.

    Returns the factor (n, r) and the order of the pivots (n): factor[order] is lower triangular.
    Works in panels of 64 columns, each followed by one matrix product for the rest of the matrix.
    Returns None if the rest is not the round-off of a semi-definite matrix (float32 noise, or an
    indefinite matrix): eigenvalues have to decide there.
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
