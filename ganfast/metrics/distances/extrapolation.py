"""FID without its bias in the number of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ganfast.errors import InputError
from ganfast.metrics.distances.chunks import Chunks, distances
from ganfast.metrics.distances.frechet import moments_of, require_one_dim
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary

SMALLEST = 4
"""The smallest union has one chunk in so many: below, the bias is no line in 1/N any more where
features are many; above, the line is hardly longer than its noise."""


@dataclass(frozen=True)
class FidInfinity:
    """``fid`` at an infinite number of generated images and its ``standard_error``; FID with N
    images is about fid + ``slope`` / N. ``counts`` and ``fids`` are what that was read from."""

    fid: float
    standard_error: float
    slope: float
    counts: tuple[int, ...]
    fids: tuple[float, ...]


@no_autograd
def fid_infinity(real: Summary | Statistics, fake: Summary, *, seed: int = 0) -> FidInfinity:
    """FID extrapolated to infinitely many generated images (Chong and Forsyth, 2020,
    arXiv:1911.07023).

    FID with N images lies above its limit by slope / N on average. It is computed between ``real``
    as a whole and nested unions, in an order drawn with ``seed``, of a quarter to all of the chunks
    of ``fake``; the line in t = 1/N is fitted to that by generalised least squares, and its value
    at t = 0 is ``fid``. Nested unions share images: the sampling error of FID at two of them has
    the covariance s^2 min(t, t'), that of a random walk in t. Hence steps between neighbouring
    unions are independent, with

        slope = sum dy / sum dt,   fid = y_N - slope / N,
        s^2 = sum (dy - slope dt)^2 / dt / (steps - 1),
        standard_error^2 = s^2 (1/N + 1 / (N^2 sum dt)).

    (Ordinary least squares would take the unions for independent, and its standard error is about
    four times too small.)

    ``real`` is held fixed at the images it has: its own sampling error and bias are in neither
    number. The bias is a line in 1/N only where the covariance has full rank: with fewer than a few
    times as many images as features, take the result as a correction of the right sign.

    Args:
        real: all of one side; its moments alone are used.
        fake: a Summary with ``chunks``.
        seed: of the order of the unions.

    Raises:
        ValueError: (an InputError) a ``fake`` without images in at least 4 chunks, or sides of
            different numbers of features.
    """
    two = Chunks.of(fake, "fake")
    if two.fixed is not None:
        raise InputError(
            "fake: got Statistics, which say nothing about fewer images; give a Summary with chunks"
        )
    mu, sigma = moments_of(real, "real")
    one = Chunks.of(Statistics(mu, sigma), "real")
    require_one_dim(one.dim, two.dim)
    order = torch.randperm(len(two), generator=torch.Generator().manual_seed(seed))
    sizes = range(max(1, len(two) // SMALLEST), len(two) + 1)
    unions = torch.zeros(len(sizes), len(two), dtype=torch.float64)
    for union, size in zip(unions, sizes, strict=True):
        union[order[:size]] = 1
    counts = unions @ two.counts.cpu()
    if counts[0] < 2:
        raise InputError(
            f"fake: got {int(counts[-1])} images, too few for unions of its chunks; give more"
        )
    fids = distances(one, two, unions, unions)
    # From all images down, so that both step away from the point that is known best.
    t, y = (1 / counts).flip(0), fids.flip(0)
    dt, dy = t.diff(), y.diff()
    slope = dy.sum() / dt.sum()
    variance = ((dy - slope * dt).square() / dt).sum() / (len(dt) - 1)
    error = variance * (t[0] + t[0].square() / dt.sum())
    return FidInfinity(
        fid=float(y[0] - slope * t[0]),
        standard_error=math.sqrt(error),
        slope=float(slope),
        counts=tuple(int(count) for count in counts),
        fids=tuple(fids.tolist()),
    )
