"""The kernel distance of CLIP's features, which needs neither Gaussians nor many images."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.arrays import alike, as_rows
from ganfast.metrics.no_autograd import no_autograd

_TILE = 2048
"""Rows and columns of the kernel's matrix at a time: 32 MB."""


class Cmmd(NamedTuple):
    cmmd: float
    standard_error: float


@no_autograd
def cmmd(x: Any, y: Any, *, sigma: float = 10.0, scale: float = 1000.0) -> Cmmd:
    """CMMD (Jayasumana et al., 2024, arXiv:2401.09603): ``scale`` times the squared maximum mean
    discrepancy with the kernel exp(-|a - b|^2 / (2 sigma^2)), of rows scaled to length 1.

    All pairs of rows are taken, a tile at a time, in float64, and the estimate is unbiased: around
    0, and now and then below, for two sets of one distribution. (The authors' code keeps each row's
    kernel with itself, which adds about scale (1 - k) (1/n + 1/m), k being the mean of the kernel.)

    Args:
        x, y: features (n, d) and (m, d), torch tensors on one device or NumPy arrays of any
            floating dtype: CLIP's image embeddings, for what the paper measured.
        sigma: the kernel's width, above 0.
        scale: above 0.

    Returns:
        (cmmd, standard_error): the error is that of the choice of both sets of images, by the
        variance of their rows' mean kernels; where the sets hardly differ it errs to the safe side.

    Raises:
        ValueError: (an InputError) other shapes or dtypes, NaN or inf, fewer than 2 rows, or rows
            of zeros.
    """
    sigma = _checks.number("sigma", sigma, above=0)
    scale = _checks.number("scale", scale, above=0)
    x, y = as_rows("x", x, least=2), as_rows("y", y, least=2)
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"y: got {y.shape[1]} features, where x has {x.shape[1]}; use the same extractor for "
            "both"
        )
    x, y = alike(x, y)
    x, y = _of_length_one("x", x), _of_length_one("y", y)
    n, m = len(x), len(y)
    among_x, among_y = _kernel_sums_within(x, sigma) - 1, _kernel_sums_within(y, sigma) - 1
    of_x, of_y = _kernel_sums(x, y, sigma)
    value = among_x.sum() / (n * (n - 1)) + among_y.sum() / (m * (m - 1)) - 2 * of_x.mean() / m
    # To first order the estimate is a sum over rows, of twice these.
    parts = (among_x / (n - 1) - of_x / m), (among_y / (m - 1) - of_y / n)
    variance = sum(4 * part.var() / len(part) for part in parts)
    return Cmmd(scale * float(value), scale * math.sqrt(float(variance)))


def _of_length_one(name: str, rows: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(rows.double(), dim=1, keepdim=True)
    if not bool((length > 0).all()):
        raise InputError(f"{name}: got rows of zeros, which have no direction; leave them out")
    return rows.double() / length


def _kernel_sums(x: Tensor, y: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The sums over all rows of y for each row of x (n,), and over x for each of y (m,)."""
    along_x, along_y = x.new_zeros(len(x)), y.new_zeros(len(y))
    for a in range(0, len(x), _TILE):
        for b in range(0, len(y), _TILE):
            rows, columns = slice(a, a + _TILE), slice(b, b + _TILE)
            kernel = _kernel(x[rows], y[columns], sigma)
            along_x[rows] += kernel.sum(1)
            along_y[columns] += kernel.sum(0)
    return along_x, along_y


def _kernel_sums_within(x: Tensor, sigma: float) -> Tensor:
    """The sums over all rows of x for each of them (n,): of a symmetric matrix, of which half of
    the tiles are made."""
    along = x.new_zeros(len(x))
    for a in range(0, len(x), _TILE):
        for b in range(a, len(x), _TILE):
            rows, columns = slice(a, a + _TILE), slice(b, b + _TILE)
            kernel = _kernel(x[rows], x[columns], sigma)
            along[rows] += kernel.sum(1)
            if b > a:
                along[columns] += kernel.sum(0)
    return along


def _kernel(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Of rows of length 1, for which |a - b|^2 = 2 - 2 a.b."""
    return ((x @ y.T - 1) / sigma**2).exp_()
