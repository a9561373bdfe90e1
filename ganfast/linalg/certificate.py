"""An interval that contains Tr (A B)^{1/2}, however the polar factor was computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast.linalg.factor import cholesky, rank_revealing_factor
from ganfast.linalg.inputs import (
    EPS,
    Arrays,
    NotDefinite,
    check_sizes,
    common_batch,
    flatten_batch,
    refuse_indefinite,
    rescale,
    unscale,
)
from ganfast.linalg.polar import polar_factor


def trace_interval(a: Any, b: Any) -> tuple[Any, Any]:
    """(low, high) with low <= Tr (a b)^{1/2} <= high: how far trace_sqrtm can be trusted.

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

    Args:
        a, b: as for trace_sqrtm. Eigenvalues up to n eps of a matrix's largest count as zero.

    Returns:
        Two of the same kind, of shape (...), in float64; no gradient flows through them.

    Raises:
        InputError, InputTypeError: as trace_sqrtm does.
    """
    arrays = Arrays(a=a, b=b)
    first, second = arrays.symmetric("a"), arrays.symmetric("b")
    check_sizes(first, second)
    batch = common_batch(("a", first.x, 2), ("b", second.x, 2))
    if first.x.shape[-1] == 0 or 0 in batch:
        zeros = first.x.new_zeros(batch)
        return arrays.wrap(zeros), arrays.wrap(zeros.clone())
    scaled, exponents = zip(*(rescale(m.x.detach(), m.peak) for m in (first, second)), strict=True)
    pairs = zip(*(flatten_batch(x, batch) for x in scaled), strict=True)
    try:
        ends = [_interval((first.tolerance, second.tolerance), *pair) for pair in pairs]
    except NotDefinite:
        refuse_indefinite(first, second)
        raise
    low, high = (torch.stack(column).reshape(batch) for column in zip(*ends, strict=True))
    return arrays.wrap(unscale(low, *exponents)), arrays.wrap(unscale(high, *exponents))


def _interval(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    one, two = _factor(a, tolerances[0]), _factor(b, tolerances[1])
    cross = one.mT @ two
    unitary = _polar(cross)
    rounding = 8 * len(a) * EPS * torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(two)
    high, storage = _upper(cross, unitary, two, a)
    mirrored, other_storage = _upper(cross.mT, unitary.mT, one, b)
    slack = rounding + storage + other_storage
    low = _lower(cross, unitary)
    return (low - slack).clamp(min=0), torch.minimum(high, mirrored) + slack


def _factor(a: Tensor, tolerance: float) -> Tensor:
    lower = cholesky(a)
    return rank_revealing_factor(a, tolerance)[0] if lower is None else lower.tril()


def _polar(cross: Tensor) -> Tensor:
    """Any U will do: LAPACK's on the CPU, by products alone elsewhere."""
    if cross.device.type == "cpu":
        u, _, vt = torch.linalg.svd(cross, full_matrices=False)
        return u @ vt
    return polar_factor(cross)


def _lower(cross: Tensor, unitary: Tensor) -> Tensor:
    """The lower bound, the better one of two.

    The eigenvalues g of G = U^T U obey g^2 - g <= |G^2 - G|, whatever U is. That bounds |U|_2, but
    by more than 1 where U leaves singular values between 0 and 1. A step of Newton and Schulz,
    U (3 I - G) / 2, takes all in [0, sqrt 3] to at most 1, which is then the norm.
    """
    wide = unitary.shape[-1] > unitary.shape[-2]
    u, c = (unitary.mT, cross.mT) if wide else (unitary, cross)
    gram = u.mT @ u
    excess = torch.linalg.matrix_norm(gram @ gram - gram)
    largest = ((1 + (1 + 4 * excess).sqrt()) / 2).sqrt()
    scale = (largest / 3**0.5).clamp(min=1)
    shortened = 1.5 * u / scale - 0.5 * u @ gram / scale**3
    return torch.maximum((u * c).sum() / largest.clamp(min=1), (shortened * c).sum())


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
