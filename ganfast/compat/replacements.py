"""What takes the place of each project's Fréchet distance: their signatures, our linear algebra."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast import linalg

# Two small Gaussians whose covariances do not commute.
EXAMPLE = (
    np.array([0.0, 1.0]),
    np.array([[2.0, 0.5], [0.5, 1.0]]),
    np.array([1.0, -1.0]),
    np.array([[1.0, -0.25], [-0.25, 3.0]]),
)


def calculate_frechet_distance(
    mu1: Any, sigma1: Any, mu2: Any, sigma2: Any, eps: float = 1e-6
) -> Any:
    """pytorch-fid's (https://github.com/mseitzer/pytorch-fid): a NumPy scalar.

    ``eps``, which theirs adds to the diagonal of singular covariances, is accepted and not used:
    ours needs none. Scalars are statistics of one feature; the shapes of both sides must match.
    """
    mu1, mu2 = np.atleast_1d(mu1), np.atleast_1d(mu2)
    sigma1, sigma2 = np.atleast_2d(sigma1), np.atleast_2d(sigma2)
    for name, one, two in (("mu", mu1, mu2), ("sigma", sigma1, sigma2)):
        if one.shape != two.shape:  # they assert, and a caller may count on it
            raise AssertionError(
                f"{name}2: got shape {two.shape}; give that of {name}1, {one.shape}"
            )
    # float32 statistics make a float32 distance, as theirs do; integers make float64.
    dtype = np.result_type(mu1, mu2, sigma1, sigma2, np.float32)
    return dtype.type(_distance(mu1, sigma1, mu2, sigma2))


def frechet_distance(mu1: Any, sigma1: Any, mu2: Any, sigma2: Any, eps: float = 1e-6) -> Any:
    """clean-fid's (https://github.com/GaParmar/clean-fid), a copy of pytorch-fid's."""
    return calculate_frechet_distance(mu1, sigma1, mu2, sigma2)


def fid_statistics_to_metric(stat_1: Any, stat_2: Any, verbose: Any) -> dict[str, float]:
    """torch-fidelity's (https://github.com/toshas/torch-fidelity): an entry of a dict."""
    # Their key and their way to print: this runs only where the project is imported.
    from torch_fidelity.metric_fid import KEY_METRIC_FID, vprint

    mu1, sigma1, mu2, sigma2 = stat_1["mu"], stat_1["sigma"], stat_2["mu"], stat_2["sigma"]
    for name, one, two, dimensions in (("mu", mu1, mu2, 1), ("sigma", sigma1, sigma2, 2)):
        if one.ndim != dimensions or one.shape != two.shape or one.dtype != two.dtype:
            raise AssertionError(  # they assert, and a caller may count on it
                f"{name}: got {one.dtype} {one.shape} and {two.dtype} {two.shape}; give both sides "
                f"one dtype and one shape of {dimensions} dimension(s)"
            )
    fid = _distance(mu1, sigma1, mu2, sigma2)
    vprint(verbose, f"Frechet Inception Distance: {fid:.7g}")
    return {KEY_METRIC_FID: fid}


def fidelity_example() -> tuple[Any, ...]:
    """EXAMPLE as the arguments of torch-fidelity's function."""
    mu1, sigma1, mu2, sigma2 = EXAMPLE
    return {"mu": mu1, "sigma": sigma1}, {"mu": mu2, "sigma": sigma2}, False


def _compute_fid(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor:
    """torchmetrics' (https://github.com/Lightning-AI/torchmetrics): a tensor, differentiable."""
    given = (mu1, sigma1, mu2, sigma2)
    dtype = reduce(torch.promote_types, (value.dtype for value in given))
    return linalg.frechet_distance(*(value.to(torch.float64) for value in given)).to(dtype)


def _distance(*statistics: Any) -> float:
    """The distance of NumPy statistics of any real dtype and layout, in float64."""
    return float(linalg.frechet_distance(*(np.asarray(x, dtype=np.float64) for x in statistics)))
