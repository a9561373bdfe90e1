"""FID at infinitely many images against a distance that is known."""

import pytest
import torch

from ganfast.metrics.distances.extrapolation import fid_infinity
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary


def side(n, dim, scale=1.0, chunks=20):
    summary = Summary(dim, chunks=chunks)
    summary.add(scale * torch.randn(n, dim), None, range(n))
    return summary


def test_nearer_to_the_truth_and_its_error_is_right():
    n, dim, scale, repeats = 600, 32, 1.2, 60
    real, truth = Statistics(torch.zeros(dim), torch.eye(dim)), dim * (scale - 1) ** 2
    plain, found, errors = [], [], []
    for _ in range(repeats):
        fake = side(n, dim, scale)
        result = fid_infinity(real, fake)
        plain.append(frechet_terms(real, fake).fid)
        found.append(result.fid)
        errors.append(result.standard_error)
        assert result.fids[-1] == pytest.approx(plain[-1], rel=1e-9)
        assert result.counts[-1] == n and list(result.counts) == sorted(result.counts)
        assert len(result.fids) == len(result.counts) == 16
    a, b = torch.tensor([plain, found], dtype=torch.float64) - truth
    bias = float(a.mean())
    assert bias > 3 * float(a.std())  # there is something to correct
    assert b.square().mean() < a.square().mean() / 4
    # What is left of the bias: its term in 1/N^2, and the sampling error of the mean of 60.
    assert abs(float(b.mean())) < 0.15 * bias + 3 * float(b.std()) / repeats**0.5
    # 60 results give their deviation to 9 %, and the errors their mean square to about as much:
    # three of these together.
    error = float(torch.tensor(errors, dtype=torch.float64).square().mean().sqrt())
    assert 0.65 < error / float(b.std()) < 1.45


def test_a_line_is_found(monkeypatch):
    fake = side(200, 2)
    monkeypatch.setattr(
        "ganfast.metrics.distances.extrapolation.distances",
        lambda one, two, a, b: 3 + 50 / (a @ two.counts),
    )
    found = fid_infinity(Statistics(torch.zeros(2), torch.eye(2)), fake)
    assert found.fid == pytest.approx(3, rel=1e-10)
    assert found.slope == pytest.approx(50, rel=1e-10)
    assert found.standard_error < 1e-9


def test_seeds_and_a_summary_as_the_fixed_side():
    real, fake = side(300, 3, chunks=0), side(300, 3, 1.2)
    found = fid_infinity(real, fake)
    assert found == fid_infinity(Statistics.from_moments(real.moments), fake)
    other = fid_infinity(real, fake, seed=1)
    assert found.fids[-1] == other.fids[-1] and found.fids[0] != other.fids[0]


def test_bad_input():
    real, fake = Statistics(torch.zeros(3), torch.eye(3)), side(100, 3)
    for one, two, match in (
        (real, real, "fake: got Statistics, .* give a Summary with chunks"),
        (real, side(100, 3, chunks=0), "Summary with chunks=20"),
        (real, side(100, 4), "fake: got 4 features, where real has 3"),
        (Summary(3), fake, "real: got 0 images; give at least 2"),
        (torch.zeros(3), fake, "real: got a Tensor; give Moments, a Summary or Statistics"),
    ):
        with pytest.raises(ValueError, match=match):
            fid_infinity(one, two)
    few = Summary(2, chunks=20)
    few.add(torch.randn(4, 2), None, [0, 1, 2, 4])
    with pytest.raises(ValueError, match="fake"):
        fid_infinity(Statistics(torch.zeros(2), torch.eye(2)), few)


def test_an_evaluation_divides_the_fake_side_alone():
    options = EvaluationOptions(fid_infinity=True)
    assert (options.chunks_of("real"), options.chunks_of("fake")) == (0, 20)
    assert EvaluationOptions(fid_infinity=True, bootstrap=50).chunks_of("real") == 20
