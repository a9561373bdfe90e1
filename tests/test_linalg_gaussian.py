"""Samples against a reference that is given by its moments."""

import numpy as np
import pytest
import torch

from ganfast.linalg import Gaussian, frechet_distance, frechet_distance_from_features
from testing import gaussians

D = 24
X = gaussians.features(5 * D, D, seed=1)
COVARIANCES = {
    "full rank": torch.cov(X.T),
    "singular": torch.cov(X[:10].T),
    "zero": torch.zeros(D, D, dtype=torch.float64),
    "dead features": torch.cov((X * (torch.arange(D) % 3 > 0)).T),
}


def samples(count, case="distinct"):
    y = gaussians.features(count, D, seed=2, mean=0.2)
    if case == "duplicated":
        y[1] = y[0]
    if case == "dead features":
        y[:, ::3] = 0
    return y


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("count", [2, 10, D, D + 1, D + 2, 3 * D])
@pytest.mark.parametrize("name", ["full rank", "dead features"])
def test_equals_the_distance_from_the_samples_behind_it(name, count):
    x = X * (torch.arange(D) % 3 > 0) if name == "dead features" else X
    expected = float(frechet_distance_from_features(x, samples(count)))
    reference = Gaussian(x.mean(0), torch.cov(x.T))
    scale = float(torch.cov(x.T).trace())
    for distance in (
        frechet_distance_from_features(reference, samples(count)),
        frechet_distance_from_features(samples(count), reference),
    ):
        assert float(distance) == pytest.approx(expected, abs=2e-12 * scale)


@pytest.mark.parametrize("case", ["distinct", "duplicated", "dead features"])
@pytest.mark.parametrize("name", COVARIANCES)
def test_equals_the_distance_of_moments(name, case):
    y, covariance = samples(9, case), COVARIANCES[name]
    expected = frechet_distance(X.mean(0), covariance, y.mean(0), torch.cov(y.T))
    found = frechet_distance_from_features(Gaussian(X.mean(0), covariance), y)
    assert float(found) == pytest.approx(float(expected), abs=1e-11)


def test_two_hundred_and_fifty_six_samples():
    """Of 512 features, to 1e-13 of the trace of the root (the issue's size is 2048)."""
    n = 512
    x = gaussians.features(5 * n, n, seed=1)
    y = gaussians.features(256, n, seed=2, mean=0.1)
    covariance = gaussians.covariance_of(gaussians.over_root(x))
    trace = gaussians.trace_of_samples(x, y)
    means = (x.mean(0) - y.mean(0)).square().sum()
    traces = covariance.trace() + gaussians.over_root(y).square().sum()
    found = float(frechet_distance_from_features(Gaussian(x.mean(0), covariance), y))
    assert found == pytest.approx(float(means + traces) - 2 * trace, abs=2e-13 * trace, rel=0)


@pytest.mark.parametrize("count", [6, 2 * D])
def test_gradient_equals_the_one_from_samples(count):
    y = samples(count).requires_grad_()
    (expected,) = torch.autograd.grad(frechet_distance_from_features(X, y), y)
    reference = Gaussian(X.mean(0), torch.cov(X.T))
    (found,) = torch.autograd.grad(frechet_distance_from_features(reference, y), y)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", ["distinct", "dead features"])
@pytest.mark.parametrize("name", ["full rank", "singular", "dead features"])
def test_gradient_equals_central_differences(name, case):
    reference = Gaussian(X.mean(0), COVARIANCES[name])
    live = torch.arange(D) % 3 > 0 if case == "dead features" else torch.ones(D, dtype=torch.bool)
    y = samples(6, case).requires_grad_()
    (gradient,) = torch.autograd.grad(frechet_distance_from_features(reference, y), y)
    assert bool(gradient.isfinite().all())
    direction = gaussians.normal(6, D, seed=3) * live
    high, low = (
        frechet_distance_from_features(reference, y.detach() + step * direction)
        for step in (1e-5, -1e-5)
    )
    slope = float((gradient * direction).sum())
    assert slope == pytest.approx(float(high - low) / 2e-5, rel=1e-6, abs=1e-6)


def test_second_order():
    reference = Gaussian(X[:, :5].mean(0), torch.cov(X[:, :5].T))
    y = gaussians.normal(4, 5, seed=4).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda y: frechet_distance_from_features(reference, y), (y,), atol=1e-4
    )


def test_batches_of_classes():
    x = torch.stack([X, 2 * X, X.flip(0) + 1])
    y = torch.stack([samples(7), samples(7) * 3, samples(7) - 1])
    covariance = torch.stack([torch.cov(one.T) for one in x])
    together = frechet_distance_from_features(Gaussian(x.mean(1), covariance), y)
    alone = [frechet_distance_from_features(*pair) for pair in zip(x, y, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-11, atol=1e-11)
    shared = frechet_distance_from_features(Gaussian(x[0].mean(0), covariance[0]), y)
    assert shared.shape == (3,) and float(shared[0]) == pytest.approx(float(together[0]))


@pytest.mark.parametrize("scale", [1e-140, 1e140])
def test_scale(scale):
    reference = Gaussian(X.mean(0) * scale**0.5, torch.cov(X.T) * scale)
    found = frechet_distance_from_features(reference, samples(9) * scale**0.5)
    expected = frechet_distance_from_features(Gaussian(X.mean(0), torch.cov(X.T)), samples(9))
    assert float(found) / scale == pytest.approx(float(expected), rel=1e-11)


def test_numpy_in_numpy_out():
    mean, covariance = X.mean(0).numpy(), np.asfortranarray(np.cov(X.numpy(), rowvar=False))
    covariance.flags.writeable = False
    found = frechet_distance_from_features(
        Gaussian(mean, covariance), samples(9).numpy().astype(np.float32)
    )
    assert isinstance(found, np.float64)


def test_bad_input():
    mean, covariance = X.mean(0), torch.cov(X.T)
    with pytest.raises(ValueError, match=r"got shapes \(24,\) and \(23, 23\); give"):
        Gaussian(mean, covariance[1:, 1:])
    with pytest.raises(ValueError, match=r"mean, covariance: got shapes \(\)"):
        Gaussian(mean[0], covariance)
    with pytest.raises(ValueError, match="covariance: .* not positive semi-definite"):
        Gaussian(mean, covariance - 0.5 * torch.eye(D))
    with pytest.raises(ValueError, match="covariance: .* not symmetric"):
        Gaussian(mean, covariance.triu())
    with pytest.raises(ValueError, match="mean: got values that are not finite"):
        Gaussian(mean / 0, covariance)
    reference = Gaussian(mean, covariance)
    assert "(24,)" in repr(reference)
    with pytest.raises(ValueError, match=r"y: .* give \(..., N, 24\), the d of the Gaussian"):
        frechet_distance_from_features(reference, X[:, :5])
    with pytest.raises(ValueError, match="x: got a NumPy array on cpu; give a torch array"):
        frechet_distance_from_features(X.numpy(), reference)
    with pytest.raises(ValueError, match="y: got 1 samples .* at least 2"):
        frechet_distance_from_features(reference, X[:1])
    with pytest.raises(ValueError, match="got two Gaussians"):
        frechet_distance_from_features(reference, reference)
