"""An interval that Tr (A B)^{1/2} lies in, whatever computed the polar factor."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast.linalg.factor import by_rank, cholesky
from ganfast.linalg.inputs import EPS, TOLERANCE
from ganfast.linalg.polar import polar_factor


def trace_interval(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(low, high) with low <= Tr (a b)^{1/2} <= high.

    Args:
        a, b: symmetric positive semi-definite float64 matrices (n, n) on one device. Eigenvalues
            up to n eps of the largest count as zero, as in trace_sqrtm.

    Returns:
        Two float64 scalars on that device.

    With factors a = F1 F1^T, b = F2 F2^T and C = F1^T F2 the trace is |C|_*, the nuclear norm. For
    ANY matrix U and ANY positive definite W

        <U, C> / max(1, |U|_2)  <=  |C|_*  <=  (Tr (C^T C W) + Tr W^-1) / 2,

    the first since |.|_* is dual to |.|_2, the second since s <= (s^2 w + 1/w) / 2 (for matrices:
    the trace of a square). Both are tight where U is the polar factor of C and W^-1 = U^T C, here
    made positive definite by a little of the identity. So the interval holds in exact arithmetic
    however rough U is, and is narrow if U is good; it costs a Cholesky factorisation and a
    triangular solve for each side.

    Two terms of rounding are added on both sides: 8 n eps |F1| |F2| (Frobenius norms) for the
    products, and for the storage of a and b the derivatives of the upper bound,
    n eps (|a| Tr (F2 W F2^T) + |b| Tr (F1 W' F1^T)) / 2. The latter bounds the effect of any
    perturbation of that size upwards, and to first order downwards; it is what makes the interval
    of a singular or collapsed matrix wide, for such a trace is badly determined by its rounded
    matrices. Where rounding destroys W the upper bound is infinite.

    Raises NotDefinite for a matrix with an eigenvalue below -1e-5 of the largest.
    """
    one, two = _factor(a), _factor(b)
    cross = one.mT @ two
    unitary = _polar(cross)
    rounding = 8 * len(a) * EPS * torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(two)
    high, storage = _upper(cross, unitary, two, a)
    mirrored, other_storage = _upper(cross.mT, unitary.mT, one, b)
    slack = rounding + storage + other_storage
    low = (unitary * cross).sum() / _largest_singular_value(unitary).clamp(min=1)
    return (low - slack).clamp(min=0), torch.minimum(high, mirrored) + slack


def _factor(a: Tensor) -> Tensor:
    lower = cholesky(a)
    return by_rank(a, TOLERANCE) if lower is None else lower.tril()


def _polar(cross: Tensor) -> Tensor:
    """Any way to U will do: LAPACK's where the matrix is on the CPU, products alone elsewhere."""
    if cross.device.type == "cpu":
        u, _, vt = torch.linalg.svd(cross, full_matrices=False)
        return u @ vt
    return polar_factor(cross)


def _largest_singular_value(u: Tensor) -> Tensor:
    """A bound on it. The eigenvalues g of G = U^T U obey g^2 - g <= |G^2 - G|, whatever U is."""
    gram = u.mT @ u if u.shape[-1] <= u.shape[-2] else u @ u.mT
    excess = torch.linalg.matrix_norm(gram @ gram - gram)
    return ((1 + (1 + 4 * excess).sqrt()) / 2).sqrt()


def _upper(cross: Tensor, unitary: Tensor, factor: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The upper bound with W^-1 = sym(U^T C) + d I, and what the storage of ``other`` may add.

    With W^-1 = L L^T: Tr (C^T C W) = |C L^-T|^2 and Tr (F W F^T) = |F L^-T|^2.
    """
    n = len(other)
    inverse = unitary.mT @ cross
    shift = max(1e-11, 8 * n * EPS) * torch.linalg.matrix_norm(cross)
    shift = shift.clamp(min=1e-290)  # the product may be zero
    inverse = (inverse + inverse.mT) / 2
    inverse.diagonal().add_(shift)
    lower, info = torch.linalg.cholesky_ex(inverse)
    squared = [
        torch.linalg.solve_triangular(lower.mT, x, upper=True, left=False).square().sum()
        for x in (cross, factor)
    ]
    high = (squared[0] + inverse.diagonal().sum()) / 2
    storage = n * EPS * torch.linalg.matrix_norm(other) * squared[1] / 2
    good = (info == 0) & high.isfinite()
    return torch.where(good, high, torch.inf), torch.where(good, storage, torch.inf)
