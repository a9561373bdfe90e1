"""The two terms of the distance, from every kind of side."""

import pytest
import torch

from ganfast.linalg import frechet_distance, trace_sqrtm
from ganfast.metrics import Moments
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary

DIM = 7


def moments(n, shift=0.0, scale=1.0):
    found = Moments(DIM)
    found.update(scale * torch.randn(n, DIM, dtype=torch.float64) + shift)
    return found


def test_the_terms_are_those_of_the_formula():
    a, b = moments(100), moments(90, shift=0.3, scale=1.5)
    found = frechet_terms(a, b)
    covariance = a.covariance.trace() + b.covariance.trace()
    covariance -= 2 * trace_sqrtm(a.covariance, b.covariance)
    assert found.mean_term == pytest.approx(float((a.mean - b.mean).square().sum()), rel=1e-13)
    assert found.covariance_term == pytest.approx(float(covariance), rel=1e-10)
    assert found.fid == found.mean_term + found.covariance_term
    whole = frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
    assert found.fid == pytest.approx(float(whole), rel=1e-12)
    other = frechet_terms(b, a)
    assert other.covariance_term == pytest.approx(found.covariance_term, rel=1e-10)


def test_all_kinds_of_sides():
    summary = Summary(DIM, chunks=3)
    x = torch.randn(60, DIM)
    summary.add(x, None, range(60))
    one = Moments(DIM)
    one.update(x)
    other = moments(50)
    expected = frechet_terms(one, other).fid
    for side in (summary, Statistics.from_moments(one)):
        assert frechet_terms(side, other).fid == pytest.approx(expected, rel=1e-12)
        assert frechet_terms(other, side).fid == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [3, 100])
def test_identical_sides_are_at_no_distance_and_never_below(n):
    for _ in range(20):
        side = moments(n)
        found = frechet_terms(side, side)
        assert found.mean_term == 0
        # Round-off of a trace of size DIM, and its square root where eigenvalues are 0.
        assert 0 <= found.covariance_term <= (1e-13 if n > DIM else 1e-6)


def test_a_shift_is_in_the_mean_term_alone():
    a = moments(100)
    b = Statistics(a.mean + 2, a.covariance)
    found = frechet_terms(a, b)
    assert found.mean_term == pytest.approx(4 * DIM, rel=1e-12)
    assert found.covariance_term < 1e-12


def test_bad_sides():
    good = moments(10)
    wide = Moments(DIM + 1)
    wide.update(torch.randn(10, DIM + 1))
    negative = Statistics(torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    flat = Statistics(torch.zeros(2), torch.eye(2))
    for real, fake, match in (
        (good, moments(1), "fake: got 1 images; give at least 2"),
        (Summary(DIM), good, "real: got 0 images; give at least 2"),
        (good, wide, "fake: got 8 features, where real has 7"),
        (good, torch.zeros(3), "fake: got a Tensor; give Moments"),
        (flat, negative, "fake.sigma: got a matrix that is not positive semi-definite"),
        (negative, flat, "real.sigma: got a matrix that is not positive semi-definite"),
    ):
        with pytest.raises(ValueError, match=match):
            frechet_terms(real, fake)
