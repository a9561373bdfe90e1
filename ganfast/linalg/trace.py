"""Tr (A B)^{1/2} of two positive semi-definite matrices, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ganfast._autograd.closed_form import closed_form, once_only
from ganfast.linalg.batch import traces
from ganfast.linalg.definite import NotDefinite, refuse_indefinite
from ganfast.linalg.factor import by_eigenvectors
from ganfast.linalg.inputs import (
    EPS,
    Arrays,
    Matrices,
    common_batch,
    half,
    moderate,
    times_power_of_two,
)
from ganfast.linalg.root import root
from ganfast.linalg.sandwich import trace_of_roots

_SMALL = 64  # a batch of larger matrices is faster one by one, each with all threads
# Below this ratio of the smallest eigenvalue to the largest, second derivatives (which grow with
# its inverse) have no digits left.
_RESOLVED = 1e-8


def trace_sqrtm(a: Any, b: Any) -> Any:
    """Tr (a b)^{1/2} for symmetric positive semi-definite ``a`` and ``b``.

    The coupling term of the Fréchet distance between Gaussians (Dowson & Landau, 1982). With
    a = L L^T it is the sum of the square roots of the eigenvalues of L^T b L: symmetric, hence real
    at any rank. No matrix root and no product a b is formed.

    Args:
        a, b: arrays of one kind (torch, NumPy or CuPy) of shape (..., n, n) and any floating dtype.
            Leading dimensions broadcast. Any scale from 1e-150 to 1e150 and any rank; eigenvalues
            up to n eps of a matrix's largest are round-off and count as zero.

    Returns:
        The same kind, of shape (...), in float64 whatever the input's dtype (a distance is the
        small difference of such numbers). A NumPy scalar for two NumPy matrices.

    Derivatives (torch): with a = L1 L1^T, b = L2 L2^T and the singular value decomposition
    L1^T L2 = V S U^T,

        dT/da = (L2 U) S^-1 (L2 U)^T / 2,    dT/db = (L1 V) S^-1 (L1 V)^T / 2,

    without the singular values that are round-off (n eps |L1| |L2|): finite for repeated and for
    zero eigenvalues. The true derivative with respect to b grows without bound where b loses rank
    within the range of a; there the formula gives the one along changes that keep the rank.
    Second derivatives exist where both matrices are well-conditioned (to 1e8); elsewhere a second
    backward raises RuntimeError.

    Raises ValueError, naming the argument, for arrays of mixed kinds or devices, a dtype that is
    not floating, shapes that do not fit, values that are not finite, and a matrix that is not
    symmetric (by more than 1e-5 of its largest entry) or not positive semi-definite (an eigenvalue
    below -1e-5 of the largest); both bounds are 1e-2 for float16 and bfloat16. Smaller faults are
    taken for round-off: the matrix is symmetrised and its negative eigenvalues count as zero.
    """
    arrays = Arrays(a=a, b=b)
    first, second = arrays.symmetric("a"), arrays.symmetric("b")
    if first.x.shape[-1] != second.x.shape[-1]:
        raise ValueError(
            f"b must have the size of a, {tuple(first.x.shape)}, got {tuple(second.x.shape)}"
        )
    return arrays.back(trace_of_checked(first, second))


def trace_of_checked(a: Matrices, b: Matrices) -> Tensor:
    """The trace for two checked arguments of one size."""
    batch = common_batch((a.name, a.x, 2), (b.name, b.x, 2))
    n = a.x.shape[-1]
    if n == 0 or 0 in batch:
        return a.x.new_zeros(batch)
    unit_a, scale_a = moderate(a.x, a.peak)
    unit_b, scale_b = moderate(b.x, b.peak)
    tolerances = a.tolerance, b.tolerance
    try:
        trace = closed_form(
            partial(_value, tolerances),
            partial(_vjp, tolerances),
            unit_a.expand(*batch, n, n).reshape(-1, n, n),
            unit_b.expand(*batch, n, n).reshape(-1, n, n),
        )
    except NotDefinite:
        refuse_indefinite(a.name, a.x, a.tolerance)
        refuse_indefinite(b.name, b.x, b.tolerance)
        raise
    return times_power_of_two(trace.reshape(batch), half(scale_a), half(scale_b))


def each(function: Callable[..., tuple[Tensor, ...]], *batches: Tensor) -> tuple[Tensor, ...]:
    """``function`` on (B, n, n) batches: at once if the matrices are small, else one by one."""
    count, n = batches[0].shape[:2]
    if n <= _SMALL and count > 1:
        return function(*batches)
    results = [function(*matrices) for matrices in zip(*batches, strict=True)]
    return tuple(torch.stack(column) for column in zip(*results, strict=True))


def _value(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> Tensor:
    small = traces(tolerances, a, b)
    return each(partial(trace_of_roots, tolerances), a, b)[0] if small is None else small


def _vjp(
    tolerances: tuple[float, float], grad: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients with respect to both; differentiable once more where that exists."""
    if torch.is_grad_enabled() and well_conditioned(a) and well_conditioned(b):
        one, two = smooth_gradients(a, b)
    else:
        with torch.no_grad():
            one, two = each(partial(_gradients, tolerances), a.detach(), b.detach())
        reason = (
            "trace_sqrtm has no second derivative at a singular or ill-conditioned matrix: add a "
            "multiple of the identity to both"
        )
        one, two = once_only(reason, one, a, b), once_only(reason, two, a, b)
    return grad[:, None, None] * one, grad[:, None, None] * two


def _gradients(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    one, two = by_eigenvectors(a, tolerances[0]), by_eigenvectors(b, tolerances[1])
    v, s, ut = torch.linalg.svd(one.mT @ two, full_matrices=False)
    # Round-off of the product L1^T L2, which is relative to its factors: ranges that are orthogonal
    # to each other leave nothing but noise in s.
    norms = torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(two)
    cut = a.shape[-1] * EPS * norms[..., None]
    scale = torch.where(s > cut, s, torch.inf).rsqrt()[..., None, :]
    left, right = (one @ v) * scale, (two @ ut.mT) * scale
    return right @ right.mT / 2, left @ left.mT / 2


def well_conditioned(a: Tensor) -> bool:
    w = torch.linalg.eigvalsh(a.detach())
    return bool((w[..., 0] > _RESOLVED * w[..., -1]).all())


def smooth_gradients(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both gradients as differentiable expressions of definite matrices.

    With r = b^{1/2} and m = (r a r)^{1/2}: dT/da = r m^-1 r / 2, dT/db = r^-1 m r^-1 / 2.
    """
    r = root(b)
    m = root(_mirror(r @ a @ r))
    inner = torch.linalg.solve(m, r)
    outer = torch.linalg.solve(r, torch.linalg.solve(r, m).mT)
    return _mirror(r @ inner) / 2, _mirror(outer) / 2


def _mirror(x: Tensor) -> Tensor:
    return (x + x.mT) / 2
