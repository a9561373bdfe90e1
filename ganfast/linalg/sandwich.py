"""Tr (A B)^{1/2} as the sum of the roots of the eigenvalues of L^T B L, for a factor A = L L^T.

For one full-rank pair: two Cholesky factorisations (the second only to see whether B has full rank,
2/3 n^3 flops together), the sandwich (n^3) and its eigenvalues (4/3 n^3): 3 n^3 in all, where the
eigenvalues of the product A B cost 12 and scipy.linalg.sqrtm about 30. Most of the time goes to the
tridiagonalisation, half of which is bound by memory, not arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast.linalg.factor import BLOCK, by_rank, by_rank_in_order, cholesky
from ganfast.linalg.inputs import EPS


def trace_of_roots(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> tuple[Tensor]:
    """Factor one side, the deficient one if one is, and add the roots of the sandwich."""
    left, right = cholesky(a), cholesky(b)
    if left is not None and right is not None:
        return (roots_of(_triangular_sandwich(left, b)).sum(-1),)
    if right is not None:
        return (roots_of(_deficient_sandwich(a, b, tolerances[0])).sum(-1),)
    if left is not None:
        return (roots_of(_deficient_sandwich(b, a, tolerances[1])).sum(-1),)
    one, two = by_rank(a, tolerances[0]), by_rank(b, tolerances[1])
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
    """Of its eigenvalues, by its lower triangle alone."""
    return torch.linalg.eigvalsh(sandwich).clamp(min=0).sqrt()


def is_resolved(roots: Tensor, sizes: Tensor) -> bool:
    """Whether squaring a matrix with rows of these sizes left 13 digits of its nuclear norm.

    Ranges that are orthogonal in part leave zeros in the product of two factors, which squaring
    blows up to 1e-8. Entry (i, j) of the square is wrong by eps sizes_i sizes_j, and so a root, one
    after another from the largest, by sqrt(eps) sizes_i at most, where it is not larger than that.
    """
    doubt = EPS**0.5 * sizes
    lost = torch.where(roots.flip(-1) > 8 * doubt, 0, doubt).sum(-1)
    return bool((lost <= 1e-13 * roots.sum(-1)).all())


def _deficient_sandwich(a: Tensor, b: Tensor, tolerance: float) -> Tensor:
    """The lower triangle at least of F^T b F for a factor F of ``a``, whatever its rank."""
    factor, order = by_rank_in_order(a, tolerance)
    if order is None or 2 * factor.shape[-1] < len(order):
        return factor.mT @ (b @ factor)
    return _triangular_sandwich(factor.mT[:, order].mT, b[order[:, None], order])


def _triangular_sandwich(factor: Tensor, b: Tensor) -> Tensor:
    """The lower triangle of L^T b L for a lower triangular L (..., n, r); above it is nothing.

    n^3 flops for r = n in place of 4 n^3: no block that is known to be zero is multiplied, and of
    b L, too, only the lower triangle is needed.
    """
    n, rank = factor.shape[-2:]
    if n <= BLOCK:
        return factor.mT @ (b @ factor)
    half = torch.empty(*b.shape[:-2], rank, n, dtype=b.dtype, device=b.device)  # (b L)^T
    sandwich = b.new_zeros(*b.shape[:-2], rank, rank)
    for start in range(0, rank, BLOCK):
        rows = slice(start, min(start + BLOCK, rank))
        below = factor[..., start:, rows].mT
        torch.matmul(below, b[..., start:, start:], out=half[..., rows, start:])
    for start in range(0, rank, BLOCK):
        rows = slice(start, min(start + BLOCK, rank))
        below = factor[..., start:, rows].mT
        left = half[..., : rows.stop, start:].mT
        torch.matmul(below, left, out=sandwich[..., rows, : rows.stop])
    return sandwich


def _lower_square(rows: Tensor) -> Tensor:
    """The lower triangle of rows rows^T in half the flops; above it is nothing."""
    n = rows.shape[-2]
    if n <= BLOCK:
        return rows @ rows.mT
    square = rows.new_zeros(*rows.shape[:-1], n)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        done = rows[..., :stop, :].mT
        torch.matmul(rows[..., start:stop, :], done, out=square[..., start:stop, :stop])
    return square
