"""Mean and covariance of a set of feature vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast.errors import InputError


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (d,) and the unbiased covariance (d, d) of ``features`` (n, d), both float64.

    Raises InputError unless ``features`` is a matrix with at least two rows.
    """
    if features.dim() != 2 or features.shape[0] < 2:
        raise InputError(
            f"features must have shape (n, d) with n >= 2, got {tuple(features.shape)}"
        )
    features = features.to(torch.float64)
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (features.shape[0] - 1)
