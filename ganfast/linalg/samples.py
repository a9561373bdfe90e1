"""Tr (S1 S2)^{1/2} from samples: the nuclear norm of F1 F2^T, F being a side's centred features; or
of one side's samples and a Gaussian, which is given by its moments."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ganfast._autograd.closed_form import closed_form, is_traced, once_only
from ganfast.errors import InputError
from ganfast.linalg import polar
from ganfast.linalg.factor import is_resolved, rank_revealing_factor, roots_of
from ganfast.linalg.inputs import (
    EPS,
    TOLERANCE,
    Arrays,
    Matrices,
    common_batch,
    flatten_batch,
    require_definite,
    rescale,
    unscale,
)
from ganfast.linalg.root import root
from ganfast.linalg.trace import (
    map_matrices,
    smooth_gradients,
    trace_of_checked,
    well_conditioned,
)


def centred(x: Tensor) -> Tensor:
    """F of N - 1 rows with F^T F = the covariance of the N rows of ``x``.

    Centring leaves the rows with one null direction, the vector of ones. A Householder reflection
    takes it to the first row, which is then exactly zero and is dropped; applied to centred rows it
    only adds a multiple of the first to the others.
    """
    count = x.shape[-2]
    rows = x - x.mean(-2, keepdim=True)
    return (rows[..., 1:, :] + rows[..., :1, :] / (count**0.5 - 1)) / (count - 1) ** 0.5


def nuclear_norm(rows1: Tensor, rows2: Tensor, batch: torch.Size) -> Tensor:
    """|| rows1 rows2^T ||_* over the leading shape ``batch``, to which both broadcast."""
    if rows1.shape[-1] == 0 or 0 in batch:
        return rows1.new_zeros(batch)
    scaled, exponents = zip(*map(_rescale_rows, (rows1, rows2)), strict=True)
    norm = closed_form(_norms, gradients, *(flatten_batch(x, batch) for x in scaled))
    # It is linear in the rows themselves, not in their roots: each exponent counts twice.
    return unscale(norm.reshape(batch), *exponents, *exponents)


def _rescale_rows(rows: Tensor) -> tuple[Tensor, Tensor | None]:
    return rescale(rows, rows.detach().abs().amax((-2, -1)))


def _tall(one: Tensor, two: Tensor) -> bool:
    """Whether both sides have more rows than columns, so that both shrink to d rows."""
    return min(one.shape[-2], two.shape[-2]) > one.shape[-1]


def _norms(one: Tensor, two: Tensor) -> Tensor:
    return map_matrices(_norm, one, two)[0]


def _norm(one: Tensor, two: Tensor) -> tuple[Tensor]:
    if polar.serves(one) and not is_traced():
        tall = _tall(one, two)
        r1, r2 = map(polar.triangle, (one, two)) if tall else (one, two)
        found = polar.quickest(polar.norm_of_rows(r1, r2, polar.QUICK))
        if found is not None:
            return (found.trace,)
    if _tall(one, two):
        one, two = (torch.linalg.qr(rows, mode="r").R for rows in (one, two))
    return (torch.linalg.svdvals(one @ two.mT).sum(-1),)


def gradients(grad: Tensor, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of grad * || one two^T ||_*, shape (B,), with respect to both."""
    smooth = _smooth(one, two) if torch.is_grad_enabled() and not is_traced() else None
    if smooth is None:
        with torch.no_grad():
            first, second = map_matrices(_gradients, one.detach(), two.detach())
        reason = (
            "frechet_distance_from_features has no second derivative where the product of the "
            "centred features is singular or ill-conditioned (dead features, duplicated samples)"
        )
        smooth = once_only(reason, first, one, two), once_only(reason, second, one, two)
    return grad[:, None, None] * smooth[0], grad[:, None, None] * smooth[1]


def _gradients(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """U F2 and U^T F1 with the polar factor U of F1 F2^T on its numerical range."""
    if polar.serves(one) and not is_traced():
        by_products = _gradients_by_products(one, two)
        if by_products is not None:
            return by_products
    basis1 = basis2 = None
    if _tall(one, two):
        basis1, one = torch.linalg.qr(one)
        basis2, two = torch.linalg.qr(two)
    u, s, vt = torch.linalg.svd(one @ two.mT, full_matrices=False)
    # Round-off of the product is relative to its factors, not to the product.
    norms = torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(two)
    cut = max(one.shape[-2], two.shape[-2]) * EPS * norms
    u = torch.where((s > cut[..., None])[..., None, :], u, 0)
    first, second = u @ (vt @ two), vt.mT @ (u.mT @ one)
    if basis1 is not None and basis2 is not None:
        return basis1 @ first, basis2 @ second
    return first, second


def _gradients_by_products(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor] | None:
    """With triangles R in the place of tall F: U F2 = F1 R2^T (C^T C)^{-1/2} R2, C = R1 R2^T."""
    tall = _tall(one, two)
    r1, r2 = map(polar.triangle, (one, two)) if tall else (one, two)
    found = polar.norm_of_rows(r1, r2)
    inverses = polar.inverse_roots(found)
    if inverses is None:
        return None
    if tall:
        return one @ (r2.mT @ inverses[0] @ r2), two @ (r1.mT @ inverses[1] @ r1)
    # u^3 (5 - 3 u^2) / 2 leaves 1 alone, and next to nothing of what round-off became.
    u = found.unitary
    gram = u @ u.mT
    u = 2.5 * gram @ u - 1.5 * gram @ (gram @ u)
    return u @ two, u.mT @ one


def _smooth(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor] | None:
    """Both gradients as differentiable expressions, or None where the norm is not smooth."""
    if _tall(one, two):
        cov1, cov2 = one.mT @ one, two.mT @ two
        if not (well_conditioned(cov1) and well_conditioned(cov2)):
            return None
        first, second = smooth_gradients(cov1, cov2)
        return 2 * one @ first, 2 * two @ second
    cross = one @ two.mT
    wide = cross.shape[-2] < cross.shape[-1]
    gram = cross @ cross.mT if wide else cross.mT @ cross
    if not well_conditioned(gram):
        return None
    inverse = torch.linalg.inv(root(gram))
    unitary = inverse @ cross if wide else cross @ inverse
    return unitary @ two, unitary.mT @ one


class Gaussian:
    """N(mean, covariance), checked once: the reference of frechet_distance_from_features.

    ::

        reference = Gaussian(mu, sigma)
        for samples in generated:
            distance = frechet_distance_from_features(reference, samples)

    With N <= d samples of d features the distance costs 2 N d^2 flops (28 ms for N = 256, d = 2048,
    where the eigenvalues of the product of two covariances take seconds) and keeps more digits: no
    second covariance is formed. Mean and covariance are constants: no gradient flows to them.

    Args:
        mean: (..., d), an array (torch, NumPy or CuPy) of any floating dtype.
        covariance: (..., d, d), symmetric positive semi-definite, of the same kind. Leading
            dimensions broadcast.

    Raises:
        InputError, InputTypeError: as trace_sqrtm does.
    """

    def __init__(self, mean: Any, covariance: Any) -> None:
        arrays = Arrays(mean=mean, covariance=covariance)
        shape = tuple(arrays.tensors["mean"].shape)
        wanted = (shape[-1:] or (0,)) * 2
        if not shape or tuple(arrays.tensors["covariance"].shape)[-2:] != wanted:
            raise InputError(
                f"mean, covariance: got shapes {shape} and "
                f"{tuple(arrays.tensors['covariance'].shape)}; give (..., d) and (..., d, d)"
            )
        self.kind = arrays.kind
        self.mean = arrays.float64("mean").detach()
        covariance = arrays.symmetric("covariance")
        self.covariance = covariance._replace(x=covariance.x.detach())
        common_batch(("mean", self.mean, 1), ("covariance", self.covariance.x, 2))
        require_definite(self.covariance)

    def __repr__(self) -> str:
        return f"Gaussian(mean of shape {tuple(self.mean.shape)}, {self.kind})"

    @cached_property
    def _scaled(self) -> tuple[Tensor, Tensor | None]:
        return rescale(self.covariance.x, self.covariance.peak)

    @cached_property
    def _rows(self) -> Tensor:
        """L^T with L L^T the rescaled covariance: what samples with that covariance would be."""
        scaled, tolerance = self._scaled[0], self.covariance.tolerance
        (factor,) = map_matrices(
            lambda a: (rank_revealing_factor(a, tolerance)[0],),
            flatten_batch(scaled, scaled.shape[:-2]),
        )
        return factor.mT.reshape(*scaled.shape[:-2], -1, scaled.shape[-1])

    def coupling(self, rows: Tensor, batch: torch.Size) -> Tensor:
        """Tr (S1 S2)^{1/2}, S1 being this covariance and S2 = rows^T rows, of shape ``batch``."""
        count, d = rows.shape[-2:]
        if d == 0 or 0 in batch:
            return rows.new_zeros(batch)
        if count > d:  # then the d x d covariance is the smaller one
            second = rows.mT @ rows
            peak = second.detach().abs().amax((-2, -1))
            return trace_of_checked(self.covariance, Matrices("y", second, peak, TOLERANCE))
        scaled, exponent = _rescale_rows(rows)
        trace = closed_form(
            partial(self._value, batch), partial(self._vjp, batch), flatten_batch(scaled, batch)
        )
        # It is linear in the rows (their exponent counts twice) and in the root of the covariance.
        return unscale(trace.reshape(batch), exponent, exponent, self._scaled[1])

    def _value(self, batch: torch.Size, rows: Tensor) -> Tensor:
        """The sum of the roots of the eigenvalues of F S F^T, graded downwards (see factor.py)."""
        product = rows @ flatten_batch(self._scaled[0], batch)
        gram = product @ rows.mT
        sizes, order = gram.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt().sort(descending=True)
        gram = gram.take_along_dim(order[..., None], -2).take_along_dim(order[..., None, :], -1)
        roots = roots_of(gram)
        if is_traced() or not is_resolved(roots, sizes):
            roots = torch.linalg.svdvals(rows @ flatten_batch(self._rows, batch).mT)
        return roots.sum(-1)

    def _vjp(self, batch: torch.Size, grad: Tensor, rows: Tensor) -> tuple[Tensor]:
        return (gradients(grad, rows, flatten_batch(self._rows, batch))[0],)
