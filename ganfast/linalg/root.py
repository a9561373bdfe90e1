"""The square root of a positive semi-definite matrix, by its eigenvectors."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ganfast._autograd.closed_form import closed_form, is_traced
from ganfast._checks import one_of
from ganfast.linalg.batch import roots
from ganfast.linalg.inputs import (
    EPS,
    TOLERANCE,
    Arrays,
    NotDefinite,
    refuse_indefinite,
    rescale,
    unscale,
)

_OF_A_PRODUCT = (
    "; for FID's Tr sqrtm(sigma1 @ sigma2) call trace_sqrtm(sigma1, sigma2), or frechet_distance "
    "for all of it"
)


Array = TypeVar("Array")


def sqrtm(a: Array, *, method: str = "auto") -> Array:
    """The symmetric positive semi-definite X with X X = a.

    Derivatives (torch), of any order: dX solves the Sylvester (Lyapunov) equation
    X dX + dX X = da, which in the eigenbasis of X, with eigenvalues s, is a division by
    s_i + s_j: right for repeated eigenvalues. Where s_i + s_j is at most sqrt(n eps) of the largest
    s, both eigenvalues of a are below its round-off and the true derivative is unbounded: zero is
    taken there.

    Args:
        a: an array (torch, NumPy or CuPy) of shape (..., n, n), symmetric positive semi-definite,
            of any floating dtype, rank and scale from 1e-150 to 1e150.
        method: "eigh" (V sqrt(w) V^T) or "auto", which chooses; today always "eigh".

    Returns:
        The same kind, shape and dtype, computed in float64.

    Raises:
        InputError: an unknown method, and the inputs that trace_sqrtm refuses.
        RuntimeError: a second backward through a singular matrix.
    """
    one_of("method", method, ("auto", "eigh"))
    arrays = Arrays(a=a)
    given, dtype = arrays.symmetric("a", hint=_OF_A_PRODUCT), arrays.dtypes["a"]
    if given.x.numel() == 0:
        return arrays.wrap(given.x.to(dtype))
    scaled, exponent = rescale(given.x, given.peak)
    try:
        result = closed_form(partial(roots, given.tolerance), _vjp, scaled, jvp=_jvp)
    except NotDefinite:
        refuse_indefinite(given)
        raise
    if exponent is not None:
        result = unscale(result, exponent[..., None, None])
    return arrays.wrap(result.to(dtype))


def root(a: Tensor) -> Tensor:
    """The differentiable root of definite symmetric float64 matrices, rescaled."""
    return closed_form(partial(roots, TOLERANCE), _vjp, a, jvp=_jvp)


def _vjp(grad: Tensor, a: Tensor) -> tuple[Tensor]:
    return (_lyapunov(a, (grad + grad.mT) / 2),)


def _jvp(tangents: tuple[Tensor], a: Tensor) -> Tensor:
    return _vjp(tangents[0], a)[0]  # the operator is its own adjoint


def _lyapunov(a: Tensor, right: Tensor) -> Tensor:
    """The symmetric Y with X Y + Y X = right, where X is the root of ``a``."""
    return closed_form(_solve, _solve_vjp, a, right, jvp=_solve_jvp)


def _solve(a: Tensor, right: Tensor) -> Tensor:
    v, sums, live = _sums(a)
    inner = torch.where(live, v.mT @ right @ v / torch.where(live, sums, 1), 0)
    return v @ inner @ v.mT


def _sums(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvectors, s_i + s_j, and where that sum is more than the root of a's round-off."""
    w, v = torch.linalg.eigh(a)
    s = w.clamp(min=0).sqrt()
    sums = s[..., :, None] + s[..., None, :]
    floor = (a.shape[-1] * EPS) ** 0.5 * s[..., -1]
    return v, sums, sums > floor[..., None, None]


def _solve_vjp(grad: Tensor, a: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    # From X Y + Y X = R: dY solves the same equation with dR - dX Y - Y dX on the right, and dX
    # with da.
    regular = _sums(a.detach())[2].all(-1, keepdim=True).all(-2, keepdim=True)
    if is_traced():
        right = torch.where(regular, right, torch.nan)
    elif not bool(regular.all()):
        raise RuntimeError(
            "sqrtm has no second derivative at a singular matrix: add a multiple of the identity"
        )
    outer = _lyapunov(a, (grad + grad.mT) / 2)
    product = outer @ _lyapunov(a, right)
    return _lyapunov(a, -(product + product.mT)), outer


def _solve_jvp(tangents: tuple[Tensor | None, Tensor | None], a: Tensor, right: Tensor) -> Tensor:
    of_a, of_right = tangents
    total = torch.zeros_like(right) if of_right is None else of_right
    if of_a is not None:
        product = _vjp(of_a, a)[0] @ _lyapunov(a, right)
        total = total - (product + product.mT)
    return _lyapunov(a, total)
