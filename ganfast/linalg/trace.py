"""Tr (A B)^{1/2} of two positive semi-definite matrices, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor

from ganfast._autograd.closed_form import closed_form, is_traced, once_only
from ganfast.linalg import polar
from ganfast.linalg.batch import traces
from ganfast.linalg.factor import eigenvector_factor, trace_of_roots
from ganfast.linalg.inputs import (
    EPS,
    Arrays,
    Matrices,
    NotDefinite,
    check_sizes,
    common_batch,
    flatten_batch,
    refuse_indefinite,
    rescale,
    unscale,
)
from ganfast.linalg.root import root

Tensors = tuple[Tensor, ...]

_SMALL = 64  # larger matrices are faster one by one, each with all threads
# Below this ratio of the smallest eigenvalue to the largest, second derivatives (which grow with
# its inverse) have no digits left.
_RESOLVED = 1e-8
_NO_SECOND = (
    "trace_sqrtm has no second derivative at a singular or ill-conditioned matrix: add a "
    "multiple of the identity to both"
)


@overload
def trace_sqrtm(a: Tensor, b: Tensor) -> Tensor: ...
@overload
def trace_sqrtm(a: Any, b: Any) -> Any: ...
def trace_sqrtm(a: Any, b: Any) -> Any:
    """Tr (a b)^{1/2} for symmetric positive semi-definite ``a`` and ``b``.

    The coupling term of the Fréchet distance between Gaussians (Dowson & Landau, 1982). With
    a = L L^T it is the sum of the square roots of the eigenvalues of L^T b L: symmetric, hence real
    at any rank. No matrix root and no product a b is formed.

    Derivatives (torch): with a = L1 L1^T, b = L2 L2^T and the singular value decomposition
    L1^T L2 = V S U^T,

        dT/da = (L2 U) S^-1 (L2 U)^T / 2,    dT/db = (L1 V) S^-1 (L1 V)^T / 2,

    without the singular values that are round-off (n eps |L1| |L2|): finite for repeated and for
    zero eigenvalues. The true derivative with respect to b grows without bound where b loses rank
    within the range of a; there the formula gives the one along changes that keep the rank.
    Second derivatives exist where both matrices are well-conditioned (to 1e8).

    Args:
        a, b: arrays of one kind (torch, NumPy or CuPy) of shape (..., n, n) and any floating dtype.
            Leading dimensions broadcast. Any scale from 1e-150 to 1e150 and any rank; eigenvalues
            up to n eps of a matrix's largest are round-off and count as zero.

    Returns:
        The same kind, of shape (...), in float64 whatever the input's dtype (a distance is the
        small difference of such numbers). A NumPy scalar for two NumPy matrices.

    Raises:
        InputError: a ValueError that names the argument: arrays of mixed kinds or devices, shapes
            that do not fit, values that are not finite, a matrix that is not symmetric (by more
            than 1e-5 of its largest entry) or not positive semi-definite (an eigenvalue below -1e-5
            of the largest); both bounds are 1e-2 for float16 and bfloat16. Smaller faults are taken
            for round-off: the matrix is symmetrised and its negative eigenvalues count as zero.
        InputTypeError: also a TypeError: not an array, or not of a floating dtype.
        RuntimeError: a second backward where a matrix is singular or ill-conditioned.
    """
    arrays = Arrays(a=a, b=b)
    first, second = arrays.symmetric("a"), arrays.symmetric("b")
    check_sizes(first, second)
    return arrays.wrap(trace_of_checked(first, second))


def trace_of_checked(a: Matrices, b: Matrices) -> Tensor:
    """The trace for two checked arguments of one size."""
    batch = common_batch((a.name, a.x, 2), (b.name, b.x, 2))
    n = a.x.shape[-1]
    if n == 0 or 0 in batch:
        return a.x.new_zeros(batch)
    scaled_a, exponent_a = rescale(a.x, a.peak)
    scaled_b, exponent_b = rescale(b.x, b.peak)
    tolerances = a.tolerance, b.tolerance
    try:
        trace = closed_form(
            partial(_value, tolerances),
            partial(_vjp, tolerances),
            flatten_batch(scaled_a, batch),
            flatten_batch(scaled_b, batch),
        )
    except NotDefinite:
        refuse_indefinite(a, b)
        raise
    return unscale(trace.reshape(batch), exponent_a, exponent_b)


def map_matrices(
    function: Callable[..., tuple[Tensor, ...]], *batches: Tensor
) -> tuple[Tensor, ...]:
    """``function`` on (B, n, n) batches: at once if the matrices are small, else one by one."""
    count, n = batches[0].shape[:2]
    if n <= _SMALL and count > 1:
        return function(*batches)
    results = [function(*matrices) for matrices in zip(*batches, strict=True)]
    return tuple(torch.stack(column) for column in zip(*results, strict=True))


def _value(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> Tensor:
    small = traces(tolerances, a, b)
    return map_matrices(partial(_large, tolerances), a, b)[0] if small is None else small


def _large(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> tuple[Tensor]:
    """By LAPACK's eigenvalues (3 n^3 flops) on a CPU; on a GPU, whose eigensolvers wait for memory,
    by matrix products (108 n^3), and by eigenvalues only where those did not converge."""
    if polar.serves(a):
        found = polar.quickest(polar.polar_trace(a, b, polar.QUICK))
        if found is not None:
            return (found.trace,)
    return trace_of_roots(tolerances, a, b)


def _vjp(
    tolerances: tuple[float, float], grad: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients with respect to both; differentiable once more where that exists."""
    if is_traced():
        one, two = _traced_gradients(tolerances, a, b)
    elif torch.is_grad_enabled() and well_conditioned(a) and well_conditioned(b):
        one, two = smooth_gradients(a, b)
    else:
        with torch.no_grad():
            one, two = map_matrices(partial(_gradients, tolerances), a.detach(), b.detach())
        one, two = once_only(_NO_SECOND, one, a, b), once_only(_NO_SECOND, two, a, b)
    return grad[:, None, None] * one, grad[:, None, None] * two


def _traced_gradients(
    tolerances: tuple[float, float], a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """Of each pair what _vjp chooses, without looking at it."""
    regular = (_is_well_conditioned(a) & _is_well_conditioned(b))[..., None, None]
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    smooth = smooth_gradients(torch.where(regular, a, eye), torch.where(regular, b, eye))
    others = _gradients(tolerances, a.detach(), b.detach())
    one, two = (
        torch.where(regular, x, once_only(_NO_SECOND, y, a, b))
        for x, y in zip(smooth, others, strict=True)
    )
    return one, two


def _gradients(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if polar.serves(a) and not is_traced():
        found = polar.polar_trace(a, b)
        inverses = polar.inverse_roots(found)
        if inverses is not None:
            one, two = found.factors
            return two @ inverses[0] @ two.mT / 2, one @ inverses[1] @ one.mT / 2
    one = eigenvector_factor(a, tolerances[0])
    two = eigenvector_factor(b, tolerances[1])
    v, s, ut = torch.linalg.svd(one.mT @ two, full_matrices=False)
    # Round-off of the product L1^T L2, which is relative to its factors: ranges that are orthogonal
    # to each other leave nothing but noise in s.
    norms = torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(two)
    cut = a.shape[-1] * EPS * norms[..., None]
    scale = torch.where(s > cut, s, torch.inf).rsqrt()[..., None, :]
    left, right = (one @ v) * scale, (two @ ut.mT) * scale
    return right @ right.mT / 2, left @ left.mT / 2


def well_conditioned(a: Tensor) -> bool:
    return bool(_is_well_conditioned(a).all())


def _is_well_conditioned(a: Tensor) -> Tensor:
    w = torch.linalg.eigvalsh(a.detach())
    return w[..., 0] > _RESOLVED * w[..., -1]


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
