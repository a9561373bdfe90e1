"""Tr (S1 S2)^{1/2} from centred samples: the nuclear norm of F1 F2^T, and its derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast._autograd.closed_form import closed_form, once_only
from ganfast.linalg.inputs import EPS, moderate, times_power_of_two
from ganfast.linalg.root import root
from ganfast.linalg.trace import each, smooth_gradients, well_conditioned


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
    scaled, scales = [], []
    for rows in (rows1, rows2):
        unit, scale = moderate(rows, rows.detach().abs().amax((-2, -1)))
        scaled.append(unit.expand(*batch, *rows.shape[-2:]).reshape(-1, *rows.shape[-2:]))
        scales.append(scale)
    return times_power_of_two(closed_form(_value, gradients, *scaled).reshape(batch), *scales)


def _tall(one: Tensor, two: Tensor) -> bool:
    """Whether both sides have more rows than columns, so that both shrink to d rows."""
    return min(one.shape[-2], two.shape[-2]) > one.shape[-1]


def _value(one: Tensor, two: Tensor) -> Tensor:
    return each(_norm, one, two)[0]


def _norm(one: Tensor, two: Tensor) -> tuple[Tensor]:
    if _tall(one, two):
        one, two = (torch.linalg.qr(rows, mode="r").R for rows in (one, two))
    return (torch.linalg.svdvals(one @ two.mT).sum(-1),)


def gradients(grad: Tensor, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Of grad * || one two^T ||_*, (B,), with respect to both."""
    smooth = _smooth(one, two) if torch.is_grad_enabled() else None
    if smooth is None:
        with torch.no_grad():
            first, second = each(_gradients, one.detach(), two.detach())
        reason = (
            "frechet_distance_from_features has no second derivative where the product of the "
            "centred features is singular or ill-conditioned (dead features, duplicated samples)"
        )
        smooth = once_only(reason, first, one, two), once_only(reason, second, one, two)
    return grad[:, None, None] * smooth[0], grad[:, None, None] * smooth[1]


def _gradients(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """U F2 and U^T F1 with the polar factor U of F1 F2^T on its numerical range."""
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
    polar = inverse @ cross if wide else cross @ inverse
    return polar @ two, polar.mT @ one
