"""The kernel distance between two sets of features: unbiased, whatever their number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.arrays import as_rows
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.summary.score_tally import mean_and_deviation


@no_autograd
def kernel_inception_distance(
    x: Any, y: Any, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """KID (Binkowski et al., 2018, arXiv:1801.01401): the squared maximum mean discrepancy with the
    kernel (a.b / d + 1)^3, over random subsets drawn without replacement, in float64.

    The estimate is unbiased: around 0, and now and then below,
    for two sets of one distribution. Where a side has fewer rows than ``subset_size``, subsets have
    as many as the smaller side; that side is then whole in each of them, so the deviation says less
    than it seems to, and where both sides are whole there is one subset, which has none.

    Memory: a matrix of subset_size^2 at a time, and one subset of either side.

    Args:
        x, y: features (n, d) and (m, d), torch tensors or NumPy arrays of any floating dtype.
        subsets: how many.
        subset_size: rows of each side in a subset.
        seed: of the subsets.

    Returns:
        (mean, population deviation) over the subsets; NaN for the deviation of one.

    Raises:
        ValueError: (an InputError) other shapes or dtypes, NaN or inf, or fewer than 2 rows.
    """
    subsets = _checks.integer("subsets", subsets, least=1)
    subset_size = _checks.integer("subset_size", subset_size, least=2)
    x, y = as_rows("x", x, least=2), as_rows("y", y, least=2)
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"y: got {y.shape[1]} features, where x has {x.shape[1]}; use the same extractor for "
            "both"
        )
    size = min(subset_size, len(x), len(y))
    if size == len(x) == len(y):
        subsets = 1
    generator = torch.Generator().manual_seed(seed)
    estimates = []
    for _ in range(subsets):
        chosen = [torch.randperm(len(rows), generator=generator)[:size] for rows in (x, y)]
        estimates.append(squared_discrepancy(x[chosen[0].to(x.device)], y[chosen[1].to(y.device)]))
    return mean_and_deviation(torch.tensor(estimates, dtype=torch.float64))


@no_autograd
def squared_discrepancy(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate from all rows of x (n, d) and y (m, d):

    mean of k(x_i, x_j) over i != j  +  the same of y  -  2 mean of k(x_i, y_j).
    """
    x, y = x.to(torch.float64), y.to(x.device, torch.float64)
    return _among(x) + _among(y) - 2 * float(_kernel(x, y).mean())


def _among(x: Tensor) -> float:
    kernel = _kernel(x, x)
    n = len(x)
    return float((kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1)))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
