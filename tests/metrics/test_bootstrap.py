"""The interval for FID against the spread of FID over many data sets."""

import pytest
import torch

from ganfast.metrics.distances.bootstrap import bootstrap_interval, student
from ganfast.metrics.distances.chunks import Chunks, distances
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary

K = 20


def side(n, dim, scale=1.0, shift=0.0):
    summary = Summary(dim, chunks=K)
    summary.add(scale * torch.randn(n, dim) + shift, None, range(n))
    return summary


def half_width(interval):
    return (interval[1] - interval[0]) / 2


@pytest.mark.parametrize("n, dim, fixed", [(400, 4, False), (400, 4, True), (300, 24, False)])
def test_width_and_coverage(n, dim, fixed):
    """The interval's deviation s against that of FID, and how often it has FID's mean within.

    With 24 features and 300 images FID's bias is 12 of its deviations; there, over 400 repeats, s
    was 1.27 times too large, 1.46 times if the bias of unequal halves was left in, and 2.4 times if
    chunks were drawn with replacement.
    """
    repeats = 150
    truth = Statistics(torch.zeros(dim), torch.eye(dim))
    fids, intervals = [], []
    for _ in range(repeats):
        real = truth if fixed else side(n, dim)
        fake = side(n, dim, 1.15, 0.05)
        fids.append(frechet_terms(real, fake).fid)
        intervals.append(bootstrap_interval(real, fake, replicates=60))
    spread = torch.tensor(fids, dtype=torch.float64)
    widths = torch.tensor([half_width(i) for i in intervals], dtype=torch.float64)
    s = float(widths.square().mean().sqrt()) / student(K - 1)
    # The deviation of 150 FIDs is itself uncertain by 1/sqrt(300) = 6 %, the mean of s^2 by less:
    # three of these about 1, and two about 1.27.
    assert 0.82 < s / float(spread.std()) < (1.2 if dim == 4 else 1.42)
    inside = sum(low <= float(spread.mean()) <= high for low, high in intervals)
    # Binomial(150, 0.95): 142.5 with a deviation of 2.7; three of them.
    assert inside >= 134
    if dim == 4:  # nor is it far too wide: that none of 150 is outside has p = 5e-4
        assert inside < 150


def test_the_interval_is_around_fid():
    real, fake = side(300, 5), side(300, 5, 1.5)
    low, high = bootstrap_interval(real, fake)
    assert low > 0
    assert (low + high) / 2 == pytest.approx(frechet_terms(real, fake).fid, rel=1e-12)


def test_seeds_and_sides():
    real, fake = side(200, 3), side(200, 3, 1.5)
    found = bootstrap_interval(real, fake, seed=1)
    assert found == bootstrap_interval(real, fake, seed=1)
    assert found != bootstrap_interval(real, fake, seed=2)
    held = bootstrap_interval(real, Statistics.from_moments(fake.moments))
    assert 0 < half_width(held) < half_width(found)


def test_never_below_zero():
    side_ = side(200, 3)
    low, high = bootstrap_interval(side_, side_)
    assert low == 0 and high > 0


def test_all_differences_of_a_line_are_its_deviation():
    """FID of one feature and one variance is a square; where that is nearly linear in the mean, s
    must be the classical standard error of 2 |mu1 - mu2| times a mean over chunks."""
    n = 20000
    fake = side(n, 1, 1.0, 100.0)
    real = Statistics(torch.zeros(1), torch.eye(1))
    counts = torch.tensor([part.count for part in fake.chunk_moments], dtype=torch.float64)
    means = torch.stack([part.mean[0] for part in fake.chunk_moments])
    overall = (counts * means).sum() / n
    of_chunks = counts * (means - overall)
    classical = 200 * float(of_chunks.std()) * K**0.5 / n
    found = half_width(bootstrap_interval(real, fake, replicates=4000)) / student(K - 1)
    assert found == pytest.approx(classical, rel=0.05)  # 2000 pairs: 1.6 %, and three of these


def test_student():
    for freedom, point in ((3, 3.18245), (4, 2.77645), (9, 2.26216), (19, 2.09302), (99, 1.98422)):
        assert student(freedom) == pytest.approx(point, rel=1e-2 if freedom < 9 else 2e-4)


def test_halves_have_nothing_in_common(monkeypatch):
    seen = []

    def spy(one, two, a, b):
        seen.append((a, b))
        return distances(one, two, a, b)

    monkeypatch.setattr("ganfast.metrics.distances.bootstrap.distances", spy)
    summary = Summary(2, chunks=7)
    summary.add(torch.randn(100, 2), None, range(100))
    assert len(Chunks.of(summary, "real")) == 7
    bootstrap_interval(summary, side(100, 2), replicates=10)
    (a, b), (c, d), _ = seen
    for first, second, half in ((a, c, 3), (b, d, 10)):
        assert len(first) == len(second) == 5
        assert not (first * second).any()
        assert (first.sum(1) == half).all() and (second.sum(1) == half).all()
    assert len({tuple(row.tolist()) for row in b}) > 1


def test_bad_input():
    good, fixed = side(100, 3), Statistics(torch.zeros(3), torch.eye(3))
    for replicates in (3, 10.0, True):
        with pytest.raises(ValueError, match="replicates"):
            bootstrap_interval(good, good, replicates=replicates)
    for real, fake, match in (
        (fixed, fixed, "real, fake: got two Statistics"),
        (good, side(100, 4), "fake: got 4 features, where real has 3"),
        (good, Summary(3), "fake: got 0 images; give at least 2"),
        (good.moments, good, "real: got a Moments; give a Summary"),
    ):
        with pytest.raises(ValueError, match=match):
            bootstrap_interval(real, fake)
