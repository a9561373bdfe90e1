"""The distance between NumPy statistics, as the projects built on NumPy call it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganfast.linalg import frechet_distance


def distance(mu1: Any, sigma1: Any, mu2: Any, sigma2: Any) -> float:
    """The Fréchet distance of statistics of any real dtype and layout, in float64."""
    return float(frechet_distance(*(_tensor(value) for value in (mu1, sigma1, mu2, sigma2))))


def distance_by_scipy_rules(mu1: Any, sigma1: Any, mu2: Any, sigma2: Any) -> Any:
    """As pytorch-fid takes and gives it, and clean-fid after it: a NumPy scalar.

    Scalars are statistics of one feature; the shapes of the two sides must be the same.
    """
    mu1, mu2 = np.atleast_1d(mu1), np.atleast_1d(mu2)
    sigma1, sigma2 = np.atleast_2d(sigma1), np.atleast_2d(sigma2)
    if mu1.shape != mu2.shape:  # they assert, and a caller may count on it
        raise AssertionError(f"mu1 has shape {mu1.shape}, mu2 has {mu2.shape}: not the same")
    if sigma1.shape != sigma2.shape:
        raise AssertionError(
            f"sigma1 has shape {sigma1.shape}, sigma2 has {sigma2.shape}: not the same"
        )
    # float32 statistics make a float32 distance, as theirs do; integers make float64.
    dtype = np.result_type(mu1, mu2, sigma1, sigma2, np.float32)
    return dtype.type(distance(mu1, sigma1, mu2, sigma2))


def _tensor(value: Any) -> torch.Tensor:
    # A copy: torch takes neither negative strides nor, without a warning, a read-only array.
    return torch.from_numpy(np.array(value, dtype=np.float64, order="C"))


def example() -> tuple[Any, ...]:
    """Two small Gaussians whose covariances do not commute."""
    return (
        np.array([0.0, 1.0]),
        np.array([[2.0, 0.5], [0.5, 1.0]]),
        np.array([1.0, -1.0]),
        np.array([[1.0, -0.25], [-0.25, 3.0]]),
    )
