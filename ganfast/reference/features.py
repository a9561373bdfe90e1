"""Feature matching: the distance between the features of real and of generated samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ganfast.reference.losses import accumulation_dtype


class DistanceSpec(NamedTuple):
    """sum_j weight_j * sum_i d(fake_ji - real_ji), d(e) being e^2 if ``square``, else |e|."""

    square: bool
    weights: tuple[float, ...]


def result_dtype(fake: Sequence[Tensor]) -> torch.dtype:
    """That of the distance: float64 if any of the features are, else float32."""
    wide = any(x.dtype == torch.float64 for x in fake)
    return torch.float64 if wide else torch.float32


def _error(real: Tensor, fake: Tensor) -> Tensor:
    dtype = accumulation_dtype(fake.dtype)
    return fake.to(dtype) - real.detach().to(dtype)


def _sign(error: Tensor) -> Tensor:
    """0 at 0; torch's own is 0 for NaN, too, which would then pass unnoticed."""
    return torch.where(error.isnan(), error, error.sign())


def feature_distance(
    real: tuple[Tensor, ...], fake: tuple[Tensor, ...], spec: DistanceSpec
) -> Tensor:
    """The distance, 0-d; it has no derivative with respect to ``real``."""
    total = torch.zeros((), dtype=result_dtype(fake), device=fake[0].device)
    for r, f, weight in zip(real, fake, spec.weights, strict=True):
        error = _error(r, f)
        total = total + weight * (error.square() if spec.square else error * _sign(error)).sum()
    return total


def feature_distance_gradient(
    grad: Tensor,
    real: tuple[Tensor, ...],
    fake: tuple[Tensor, ...],
    spec: DistanceSpec,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """grad * weight_j * d'(fake_j - real_j) for each j with ``needed[j]``, else None.

    The slope of |e| at 0 is 0. Made of differentiable operations, so it is also the expression that
    a double backward needs.
    """
    gradients: list[Tensor | None] = []
    for r, f, weight, need in zip(real, fake, spec.weights, needed, strict=True):
        if not need:
            gradients.append(None)
            continue
        error = _error(r, f)
        slope = 2.0 * error if spec.square else _sign(error)
        gradients.append((grad.to(slope.dtype) * weight * slope).to(f.dtype))
    return tuple(gradients)
