"""The Fréchet distance on values that are known in closed form, and on what breaks square roots."""

import pytest
import torch

from ganfast.linalg import frechet_distance


def test_equal_gaussians_are_at_distance_zero():
    x = torch.randn(200, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mu, sigma = x.mean(0), torch.cov(x.T)
    assert float(frechet_distance(mu, sigma, mu, sigma)) == pytest.approx(0, abs=1e-10)


def test_shifted_means_alone():
    mu1, mu2, sigma = torch.zeros(3), torch.tensor([1.0, 2.0, 2.0]), torch.eye(3)
    assert float(frechet_distance(mu1, sigma, mu2, sigma)) == pytest.approx(9, rel=1e-12)


def test_diagonal_covariances():
    # |mu1 - mu2|^2 + sum (sqrt a - sqrt b)^2
    a, b = torch.tensor([1.0, 4.0, 9.0, 0.0]), torch.tensor([4.0, 1.0, 0.0, 0.0])
    zero = torch.zeros(4)
    distance = frechet_distance(zero, a.diag(), zero, b.diag())
    assert float(distance) == pytest.approx(1 + 1 + 9, rel=1e-12)
    assert distance.dtype == torch.float64


def test_commuting_covariances_in_a_rotated_basis():
    generator = torch.Generator().manual_seed(1)
    q, _ = torch.linalg.qr(torch.randn(32, 32, generator=generator, dtype=torch.float64))
    a = torch.logspace(-12, 2, 32, dtype=torch.float64)
    b = torch.rand(32, generator=generator, dtype=torch.float64)
    zero = torch.zeros(32)
    distance = frechet_distance(zero, (q * a) @ q.T, zero, (q * b) @ q.T)
    assert float(distance) == pytest.approx(float((a.sqrt() - b.sqrt()).square().sum()), rel=1e-9)


def test_symmetric_in_its_arguments_and_fine_with_singular_covariances():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(10, 64, generator=generator, dtype=torch.float64)  # rank 9 of 64
    y = torch.randn(100, 64, generator=generator, dtype=torch.float64)
    one = x.mean(0), torch.cov(x.T)
    two = y.mean(0), torch.cov(y.T)
    forth, back = float(frechet_distance(*one, *two)), float(frechet_distance(*two, *one))
    assert forth == pytest.approx(back, rel=1e-7)
    # The same trace from the samples: the singular values of the product of the centred matrices.
    # 1e-7: a covariance of rank 9 is stored with 55 eigenvalues of 1e-16 whose roots are 1e-8.
    fx = (x - x.mean(0)) / 9**0.5
    fy = (y - y.mean(0)) / 99**0.5
    trace = torch.linalg.svdvals(fx @ fy.T).sum()
    expected = (one[0] - two[0]).square().sum() + one[1].trace() + two[1].trace() - 2 * trace
    assert forth == pytest.approx(float(expected), rel=1e-7)


@pytest.mark.parametrize("index, name", [(0, "mu1"), (1, "sigma1"), (2, "mu2"), (3, "sigma2")])
def test_errors_name_the_argument(index, name):
    good = [torch.zeros(3), torch.eye(3), torch.zeros(3), torch.eye(3)]
    broken = list(good)
    broken[index] = broken[index] + torch.nan
    with pytest.raises(ValueError, match=name):
        frechet_distance(*broken)
    broken[index] = good[index][..., None]
    with pytest.raises(ValueError, match=name):
        frechet_distance(*broken)
