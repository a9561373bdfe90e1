"""The real projects, where they are installed: their distance and ours, and their own callers."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from compat_fakes import HOMES, call, function_of

import ganfast.linalg as GL
from ganfast import compat
from testing.torchvision_stub import import_torchvision

KEY = "frechet_inception_distance"
BY_SCIPY = ("pytorch_fid", "cleanfid", "monai")


@pytest.fixture(params=HOMES)
def project(request) -> str:
    return request.param


@pytest.fixture
def home(project: str) -> Any:
    """The module whose function is replaced."""
    module, _ = HOMES[project]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_torchvision()
            return importlib.import_module(module)
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"{project} cannot be imported here: {error}")


def statistics(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of n features whose scales differ, and which depend on one another."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d)) * np.geomspace(1, 0.05, d) @ random.normal(size=(d, d)) + 0.3
    return x.mean(0), np.cov(x.T)


def dead(statistics: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Features that are always 0, as a ReLU leaves them."""
    mu, sigma = statistics[0].copy(), statistics[1].copy()
    mu[::3], sigma[::3], sigma[:, ::3] = 0, 0, 0
    return mu, sigma


D = 48
# How far theirs may be from the truth: to round-off where both have full rank; where not, the
# square root of round-off in the zero eigenvalues, which is what their formulas leave.
CASES = {
    "full rank": (statistics(500, D, 0), statistics(400, D, 1), 1e-6),
    "few samples": (statistics(20, D, 0), statistics(500, D, 1), 1e-5),
    "few on both sides": (statistics(20, D, 0), statistics(30, D, 1), 1e-5),
    "dead features": (dead(statistics(500, D, 0)), dead(statistics(400, D, 1)), 1e-5),
}


def number(answer: Any) -> float:
    return float(answer[KEY] if isinstance(answer, dict) else answer)


@pytest.mark.parametrize("case", CASES)
def test_theirs_and_ours_agree(home, project, case):
    one, two, tolerance = CASES[case]
    before = call(project, function_of(project), one, two)
    with compat.patched(project) as records:
        assert len(records) == 1
        after = call(project, function_of(project), one, two)
    assert type(after) is type(before)
    assert getattr(after, "dtype", None) == getattr(before, "dtype", None)
    assert getattr(after, "shape", None) == getattr(before, "shape", None)
    if project == "piq":  # its iteration stops too early: see the next test
        assert number(before) > number(after)
    else:
        assert number(after) == pytest.approx(number(before), rel=tolerance)


@pytest.mark.parametrize("project", ["piq"], indirect=True)
def test_piq_is_corrected(home, project):
    one, two, _ = CASES["full rank"]
    (mu1, sigma1), (mu2, sigma2) = one, two
    roots = np.sqrt(np.linalg.eigvals(sigma1 @ sigma2)).sum()
    truth = np.square(mu1 - mu2).sum() + np.trace(sigma1 + sigma2) - 2 * roots
    assert number(call(project, function_of(project), one, two)) > 1.001 * truth
    compat.patch(project)
    assert number(call(project, function_of(project), one, two)) == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("project", ["piq"], indirect=True)
def test_piqs_metric_computes_with_ours(home, project):
    x, y = torch.rand(500, 8), 2 * torch.rand(400, 8)
    theirs = home.FID()(x, y)
    compat.patch(project)
    ours = home.FID()(x, y)
    assert ours.dtype == theirs.dtype == torch.float64
    truth = GL.frechet_distance_from_features(x.double(), y.double())
    torch.testing.assert_close(ours, truth, rtol=1e-9, atol=0)


@pytest.mark.parametrize("project", ["monai"], indirect=True)
def test_monais_metric_computes_with_ours(home, project, scipy_1_18):
    x, y = torch.rand(500, 8), torch.rand(400, 8)
    compat.patch(project)
    truth = GL.frechet_distance_from_features(x.double(), y.double())
    torch.testing.assert_close(home.FIDMetric()(x, y), truth, rtol=1e-9, atol=0)


@pytest.mark.parametrize("project", ["ignite"], indirect=True)
def test_ignites_metric_computes_with_ours(home, project):
    metric = home.FID(num_features=8, feature_extractor=torch.nn.Identity())
    x, y = torch.rand(400, 8), torch.rand(400, 8)
    metric.update((x, y))
    theirs = metric.compute()
    compat.patch(project)
    assert type(metric.compute()) is type(theirs)
    truth = GL.frechet_distance_from_features(x.double(), y.double())
    assert metric.compute() == pytest.approx(truth.item(), rel=1e-6) == theirs


@pytest.mark.parametrize("project", ["torcheval"], indirect=True)
def test_torchevals_metric_computes_with_ours(home, project):
    class Features(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :8]

    metric = home.FrechetInceptionDistance(Features(), feature_dim=8)
    for real in (True, False):
        metric.update(torch.rand(64, 3, 4, 4), is_real=real)
    theirs = metric.compute()
    compat.patch(project)
    torch.testing.assert_close(metric.compute(), theirs, rtol=1e-4, atol=1e-6)


def test_equal_statistics_are_at_distance_zero(home, project):
    one = statistics(20, D, 0)
    compat.patch(project)
    # Round-off of the traces, whose square root a zero eigenvalue may show.
    assert 0 <= number(call(project, function_of(project), one, one)) <= 1e-6 * np.trace(one[1])


def test_unpatch_restores_the_very_same_function(home, project):
    before = function_of(project)
    compat.patch(project)
    assert function_of(project) is not before
    compat.unpatch(project)
    assert function_of(project) is before


def test_works_where_scipy_has_no_disp(home, project, scipy_1_18):
    one, two, _ = CASES["full rank"]
    if project in BY_SCIPY:
        with pytest.raises(TypeError, match="disp"):
            call(project, function_of(project), one, two)
    assert len(compat.patch(project)) == 1
    mu, sigma = np.zeros(3), np.diag([1.0, 4.0, 9.0])
    # Commuting: sum of (sqrt a - sqrt b)^2, worked out by hand.
    answer = number(call(project, function_of(project), (mu, sigma), (mu + 1, 4 * sigma)))
    assert answer == pytest.approx(3 + 1 + 4 + 9, rel=1e-12)


@pytest.mark.parametrize("project", ["pytorch_fid"], indirect=True)
def test_pytorch_fid_reads_statistics_with_ours(home, project, tmp_path, scipy_1_18):
    paths = [str(tmp_path / name) for name in ("one.npz", "two.npz")]
    for path, (mu, sigma) in zip(paths, CASES["full rank"][:2], strict=True):
        np.savez(path, mu=mu, sigma=sigma)
    model = None  # two files of statistics need no network
    values = [home.compute_statistics_of_path(path, model, 1, D, "cpu") for path in paths]
    compat.patch(project)
    assert np.isfinite(home.calculate_frechet_distance(*values[0], *values[1]))


@pytest.mark.parametrize("project", ["torchmetrics"], indirect=True)
def test_torchmetrics_metric_computes_with_ours(home, project):
    class Features(torch.nn.Module):
        """Eight numbers per image, in place of the Inception network."""

        num_features = 8

        def forward(self, images):
            return images.float().flatten(1)[:, :8]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = home.FrechetInceptionDistance(Features(), normalize=True)
    for real in (True, False):
        metric.update(torch.rand(64, 3, 8, 8), real=real)
    theirs = metric.compute()
    compat.patch(project)
    metric._computed = None  # it keeps the last answer
    ours = metric.compute()
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
