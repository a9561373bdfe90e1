"""How far FID would be from itself with other images of the same kind."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.distances.chunks import Chunks, distances
from ganfast.metrics.distances.frechet import require_one_dim
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary

_NORMAL = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


@no_autograd
def bootstrap_interval(
    real: Summary | Statistics,
    fake: Summary | Statistics,
    *,
    replicates: int = 100,
    seed: int = 0,
) -> tuple[float, float]:
    """A 95 % interval for FID, from moments of chunks: no image is looked at again.

    A pair of replicates divides the chunks of each side at random into two halves A and B, and
    takes D = (FID(A) - FID(B)) / 2. To first order in the sampling error D has the deviation s of
    FID itself (the balanced half-samples of McCarthy, 1969), and the interval is

        FID -+ t s,   s^2 = the mean square of D,

    t being Student's 97.5 % point for one degree of freedom less than there are chunks. FID's own
    bias, slope / N, is the same in both halves and cancels in D; what is left of it because chunks
    differ a little in size is subtracted, the slope being known from halves against the whole.

    Why not resampling with replacement: images drawn twice push FID up by about that bias, and by
    an amount that changes from one replicate to the next, which would be taken for sampling error:
    with 24 features and 300 images s came out 2.4 times too large, and with 64 features and 400
    images 5.9 times, where that of halves was 1.3 times too large (terms of second order; less
    where the bias is smaller, and always to the safe side).

    What it covers: that other images could have been drawn, on the sides that are a Summary with
    chunks; Statistics are held fixed. It covers the mean of FID at these numbers of images. What
    it doesn't: the bias of FID, which falls with the number of images (see fid_infinity), and
    images that depend on one another (frames of one video, crops of one photograph).

    Args:
        real, fake: a Summary with ``chunks`` (20 say), or Statistics; not Statistics both.
        replicates: how many FIDs to compute, two for a pair; with 100 the Monte-Carlo error of s is
            10 %. At 2048 features each takes about as long as the FID itself.
        seed: of the divisions.

    Returns:
        (low, high), low not below 0.

    Raises:
        ValueError: (an InputError) fewer than 4 chunks with images, fewer than 4 replicates, or
            sides of different numbers of features.
    """
    replicates = _checks.integer("replicates", replicates, least=4)
    one, two = Chunks.of(real, "real"), Chunks.of(fake, "fake")
    require_one_dim(one.dim, two.dim)
    divided = [len(side) for side in (one, two) if side.fixed is None]
    if not divided:
        raise InputError(
            "real, fake: got two Statistics, which have no chunks; give a Summary for one of them"
        )
    generator = torch.Generator().manual_seed(seed)
    pairs = replicates // 2
    halves = [_halves(pairs, len(side), generator) for side in (one, two)]
    first, second = (distances(one, two, halves[0][i], halves[1][i]) for i in (0, 1))
    fid = float(distances(one, two, *(torch.ones(1, len(side)) for side in (one, two))))

    shares = [_inverse_counts(*pair) for pair in zip((one, two), halves, strict=True)]
    excess, difference = (shares[0][i] + shares[1][i] for i in (0, 1))
    slope = ((first + second) / 2 - fid).mean() / excess.mean()
    deviation = float(((first - second - slope * difference) / 2).square().mean().sqrt())
    away = student(min(divided) - 1) * deviation
    return max(fid - away, 0.0), fid + away


def student(freedom: int) -> float:
    """The 97.5 % point of Student's distribution, by the series in 1/freedom about the normal one:
    within 1 % from 3 degrees of freedom on (Abramowitz and Stegun, 26.7.5). Exactly it is
    scipy.stats.t.ppf(0.975, freedom), but nothing else here needs SciPy."""
    z, v = _NORMAL, float(freedom)
    return math.fsum(
        (
            z,
            (z**3 + z) / (4 * v),
            (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2),
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3),
        )
    )


def _halves(pairs: int, chunks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weights (pairs, chunks), 0 or 1, of two halves without a common chunk; an odd chunk is in
    neither."""
    half = chunks // 2
    first, second = torch.zeros(2, pairs, chunks, dtype=torch.float64)
    for a, b in zip(first, second, strict=True):
        order = torch.randperm(chunks, generator=generator)
        a[order[:half]] = 1
        b[order[half : 2 * half]] = 1
    return first, second


def _inverse_counts(side: Chunks, halves: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(pairs,): by how much 1/N of the halves exceeds that of the whole on average, and the first
    half's 1/N less the second's. Of a side that is fixed they are 0."""
    if side.fixed is not None:
        return torch.zeros(1), torch.zeros(1)
    counts = side.counts.cpu()
    a, b = (1 / (half @ counts) for half in halves)
    return (a + b) / 2 - 1 / counts.sum(), a - b
