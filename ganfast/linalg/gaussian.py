"""A Gaussian that is given by its moments and compared with many sets of samples."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ganfast._autograd.closed_form import closed_form
from ganfast.errors import InputError
from ganfast.linalg.definite import require_definite
from ganfast.linalg.factor import by_rank
from ganfast.linalg.inputs import (
    TOLERANCE,
    Arrays,
    Matrices,
    common_batch,
    half,
    moderate,
    times_power_of_two,
)
from ganfast.linalg.nuclear import gradients
from ganfast.linalg.sandwich import is_resolved, roots_of
from ganfast.linalg.trace import each, trace_of_checked


class Gaussian:
    """N(mean, covariance), checked once: the reference of frechet_distance_from_features.

    ::

        reference = Gaussian(mu, sigma)
        for samples in generated:
            distance = frechet_distance_from_features(reference, samples)

    With N samples of d features the distance costs 2 N d^2 flops where N <= d, 28 ms where the
    eigenvalues of the product of two covariances take seconds, and has more digits than they: no
    second covariance is formed. Mean and covariance are constants: no gradient goes to them.

    Args:
        mean: (..., d), covariance: (..., d, d), symmetric positive semi-definite: arrays of one
            kind (torch, NumPy or CuPy) and any floating dtype. Leading dimensions broadcast.

    Raises ValueError, naming the argument, as trace_sqrtm does.
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
    def _unit(self) -> tuple[Tensor, Tensor | None]:
        """The covariance at a moderate scale, and the exponent of that."""
        return moderate(self.covariance.x, self.covariance.peak)

    @cached_property
    def _rows(self) -> Tensor:
        """L^T with L L^T the unit covariance: what samples with that covariance would be."""
        unit, tolerance = self._unit[0], self.covariance.tolerance
        batch, d = unit.shape[:-2], unit.shape[-1]
        (factor,) = each(lambda a: (by_rank(a, tolerance),), unit.reshape(-1, d, d))
        return factor.mT.reshape(*batch, -1, d)

    def coupling(self, rows: Tensor, batch: torch.Size) -> Tensor:
        """Tr (S1 S2)^{1/2}, S1 being this covariance and S2 = rows^T rows, of shape ``batch``."""
        count, d = rows.shape[-2:]
        if d == 0 or 0 in batch:
            return rows.new_zeros(batch)
        if count > d:  # then the d x d covariance is the smaller one
            second = rows.mT @ rows
            peak = second.detach().abs().amax((-2, -1))
            return trace_of_checked(self.covariance, Matrices("y", second, peak, TOLERANCE))
        unit, exponent = moderate(rows, rows.detach().abs().amax((-2, -1)))
        flat = unit.expand(*batch, count, d).reshape(-1, count, d)
        trace = closed_form(partial(self._value, batch), partial(self._vjp, batch), flat)
        return times_power_of_two(trace.reshape(batch), exponent, half(self._unit[1]))

    def _value(self, batch: torch.Size, rows: Tensor) -> Tensor:
        """The roots of the eigenvalues of F S F^T, from the largest row down (see factor.py)."""
        d = rows.shape[-1]
        covariances = self._unit[0].expand(*batch, d, d).reshape(-1, d, d)
        product = rows @ covariances
        gram = product @ rows.mT
        sizes, order = gram.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt().sort(descending=True)
        gram = gram.take_along_dim(order[..., None], -2).take_along_dim(order[..., None, :], -1)
        roots = roots_of(gram)
        if not is_resolved(roots, sizes):
            roots = torch.linalg.svdvals(rows @ self._flat_rows(batch).mT)
        return roots.sum(-1)

    def _vjp(self, batch: torch.Size, grad: Tensor, rows: Tensor) -> tuple[Tensor]:
        return (gradients(grad, rows, self._flat_rows(batch))[0],)

    def _flat_rows(self, batch: torch.Size) -> Tensor:
        return self._rows.expand(*batch, *self._rows.shape[-2:]).reshape(-1, *self._rows.shape[-2:])
