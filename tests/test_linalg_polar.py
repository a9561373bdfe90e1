"""The route of matrix products for large matrices: right, or known not to be."""

from __future__ import annotations

import pytest
import torch

from ganfast import linalg
from ganfast.linalg import polar
from ganfast.linalg.polar import LOWEST, polar_factor, polar_trace, quintics
from testing.gaussians import CASES, features, normal, orthogonal, pair

EPS = torch.finfo(torch.float64).eps
N = 300


@pytest.fixture(scope="module")
def cases():
    return {case: pair(case, N) for case in CASES}


@pytest.fixture(scope="module")
def few():
    return pair("few samples", 2 * N)  # singular values of 1e-7 of the largest


def gram(rows, n, seed):
    x = normal(rows, n, seed=seed)
    return x.T @ x / rows


@pytest.mark.parametrize("case", ["full rank", "few samples"])
@pytest.mark.parametrize("swap", [False, True])
def test_trusted_values(case, swap, cases):
    a, b, trace, *_ = cases[case]
    found = polar_trace(b, a) if swap else polar_trace(a, b)
    assert found.converged
    assert float(found.trace) == pytest.approx(trace, rel=1e-13)


@pytest.mark.parametrize("case", ["condition 1e16", "collapsed"])
def test_what_it_cannot_tell_it_says(case, cases):
    """Eigenvalues between signal and round-off: 1e-13 of the largest, in plenty."""
    a, b, *_ = cases[case]
    assert not polar_trace(a, b).converged
    assert not polar_trace(b, a).converged


def test_few_against_many(cases):
    """Ranges of different dimension leave zeros in the product."""
    few, full = cases["few samples"], cases["full rank"]
    found = polar_trace(few.a, full.b)
    f = few.x - few.x.mean(0)
    g = full.y - full.y.mean(0)
    exact = torch.linalg.svdvals(f @ g.T).sum() / ((len(f) - 1) * (len(g) - 1)) ** 0.5
    assert found.converged
    torch.testing.assert_close(found.trace, exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize("power", [-400, 400])
def test_any_scale(power, cases):
    a, b, trace, *_ = cases["full rank"]
    found = polar_trace(a * 2.0**power, b * 2.0**-100)
    assert found.converged
    assert float(found.trace) * 2.0 ** (50 - power // 2) == pytest.approx(trace, rel=1e-13)


def test_badly_scaled_features():
    scale = torch.logspace(0, -4, 100, dtype=torch.float64)
    x, y = normal(250, 100, seed=1) * scale, normal(250, 100, seed=2) * scale.flip(0)
    found = polar_trace(x.T @ x, y.T @ y)
    assert found.converged
    torch.testing.assert_close(found.trace, torch.linalg.svdvals(x @ y.T).sum(), rtol=1e-12, atol=0)


def test_zero_and_ranges_that_meet_nowhere():
    zero, eye = torch.zeros(90, 90).double(), torch.eye(90).double()
    for a, b in ((zero, eye), (eye, zero), (zero, zero)):
        found = polar_trace(a, b)
        assert found.converged and found.trace == 0
    left, right = eye.clone(), eye.clone()
    left[45:] = 0
    right[:45] = 0
    found = polar_trace(left, right)
    assert found.converged and abs(found.trace) < 1e-13


def test_identity():
    found = polar_trace(torch.eye(65).double(), 4 * torch.eye(65).double())
    assert found.converged and float(found.trace) == pytest.approx(130, rel=1e-14)


def test_indefinite_and_nan():
    good = gram(200, 80, 1)
    nan = good.clone()
    nan[3, 3] = torch.nan
    for bad in (good - 0.5 * torch.eye(80), nan):
        assert not polar_trace(bad, good).converged
        assert not polar_trace(good, bad).converged


@pytest.mark.parametrize("level", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("count", [5, 50])
def test_weak_signal_is_not_taken_for_round_off(level, count):
    """Below n eps, but positive throughout: someone else has to look at it."""
    n = N
    w = torch.ones(n, dtype=torch.float64)
    w[-count:] = level * n * EPS
    # A diagonal matrix has no round-off of its own.
    assert not polar_trace(torch.diag(w), gram(2 * n, n, 2)).converged


def test_too_few_steps_show(monkeypatch, cases):
    """What the singular values did not reach is in the error: half a schedule is no success."""
    a, b, trace, *_ = cases["full rank"]
    all_steps = quintics(LOWEST)
    monkeypatch.setattr(polar, "quintics", lambda _: all_steps[:9])
    found = polar_trace(a, b)
    assert not found.converged and found.error > trace - found.trace


def test_derivatives_in_the_factors():
    a, b = gram(200, 40, 1), gram(200, 40, 2)
    found = polar_trace(a, b)
    one, two = found.factors
    torch.testing.assert_close(one @ one.T, a, rtol=0, atol=1e-13)
    h = 1e-5
    for factor, other, gradient in (
        (one, two, two @ found.unitary.T),
        (two, one, one @ found.unitary),
    ):
        change = normal(40, 40, seed=3)
        rise = torch.linalg.svdvals((factor + h * change).T @ other).sum()
        rise = rise - torch.linalg.svdvals((factor - h * change).T @ other).sum()
        torch.testing.assert_close((gradient * change).sum(), rise / (2 * h), rtol=1e-8, atol=0)


def test_the_quintics_take_everything_to_one():
    steps = quintics(LOWEST)
    assert len(steps) == 22
    x = torch.logspace(-12, 0, 100_001, dtype=torch.float64)
    for first, third, fifth in steps:
        large = x > 0.005
        x = x * (first + x**2 * (third + x**2 * fifth))
        # No dip goes where round-off would turn the directions of large singular values.
        assert x.max() < 2 and x[large].min() > 0.02
    assert (x - 1).abs().max() < 8 * EPS


def test_the_quintics_are_the_best_there_are():
    """The error takes its largest size with alternating sign at four points (Chebyshev)."""
    low, high = 0.02, 1.7
    (first, third, fifth), error = polar._equioscillating(low, high)
    x = torch.linspace(low, high, 1_000_001, dtype=torch.float64)
    residual = 1 - x * (first + x**2 * (third + x**2 * fifth))
    assert residual.abs().max() <= error * (1 + 1e-9)
    at_top = (residual.abs() > error * (1 - 1e-9)).nonzero().squeeze(1)
    signs = residual[at_top].sign()
    assert 1 + int((signs[1:] != signs[:-1]).sum()) == 4


def test_polar_factor():
    u, v = orthogonal(64, 1), orthogonal(64, 2)
    c = (u * torch.logspace(0, -9, 64, dtype=torch.float64)) @ v.T
    exact = u @ v.T
    # A singular value of 1e-9 is wrong by eps / 1e-9 itself.
    torch.testing.assert_close(polar_factor(c), exact, rtol=0, atol=1e-6)
    torch.testing.assert_close((polar_factor(c) * c).sum(), (exact * c).sum(), rtol=1e-14, atol=0)


def test_thirteen_steps_are_enough_for_most_and_the_others_go_on(cases, few, monkeypatch):
    assert len(quintics(polar.QUICK)) == 13
    for (a, b, trace, *_), wanted in ((cases["full rank"], True), (few, False)):
        found = polar_trace(a, b, polar.QUICK)
        assert bool(found.converged) is wanted and bool(found.worthwhile) is not wanted
        assert found.error >= abs(found.trace - trace) - 1e-13 * trace
        found = polar.quickest(found)
        assert float(found.trace) == pytest.approx(trace, rel=1e-13)
    # What more steps cannot help is not given any.
    monkeypatch.setattr(polar, "continued", lambda found: pytest.fail("in vain"))
    for case in ("condition 1e16", "collapsed"):
        assert polar.quickest(polar_trace(*cases[case][:2], polar.QUICK)) is None


def test_an_error_of_1e_9_is_no_failure(few):
    """A spectrum over three decades and more, of few samples: its estimate is above 1e-12."""
    a, b, trace, *_ = few
    one = polar_trace(a, b, 1e-7)
    assert one.converged and float(one.trace) == pytest.approx(trace, rel=1e-9)


DECOMPOSITIONS = ("eigh", "eigvalsh", "svd", "svdvals", "qr", "eigvals")


@pytest.fixture
def by_products(monkeypatch):
    """As on a GPU; a decomposition that is slow there fails."""

    def enter(forbidden=DECOMPOSITIONS):
        monkeypatch.setattr(polar, "serves", lambda x: x.dim() == 2)
        for name in forbidden:
            monkeypatch.setattr(torch.linalg, name, lambda *_, name=name, **__: pytest.fail(name))

    return enter


def value_and_gradients(function, *inputs):
    inputs = [x.clone().requires_grad_() for x in inputs]
    value = function(*inputs)
    return value.detach(), torch.autograd.grad(value, inputs)


def check_same(found, expected, rtol):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=0)
    for x, y in zip(found[1], expected[1], strict=True):
        assert torch.linalg.matrix_norm(x - y) <= rtol * torch.linalg.matrix_norm(y)


@pytest.mark.parametrize("case", ["full rank", "few samples"])
@pytest.mark.parametrize("swap", [False, True])
def test_the_gradients_of_the_trace_decompose_nothing(case, swap, cases, by_products):
    a, b = cases[case][1::-1] if swap else cases[case][:2]
    expected = value_and_gradients(linalg.trace_sqrtm, a, b)
    by_products()
    check_same(value_and_gradients(linalg.trace_sqrtm, a, b), expected, 1e-9)


@pytest.mark.parametrize("case", ["condition 1e16", "collapsed"])
def test_what_products_cannot_tell_is_decomposed(case, cases, by_products):
    a, b, *_ = cases[case]
    expected = value_and_gradients(linalg.trace_sqrtm, a, b)
    by_products(forbidden=())
    check_same(value_and_gradients(linalg.trace_sqrtm, a, b), expected, 1e-12)


def dead(count, n, **kwargs):
    x = features(count, n, **kwargs)
    x[:, :30] = 0
    return x


SAMPLES = {
    "many": lambda n: (features(3 * n, n, seed=1), features(2 * n, n, seed=2, mean=0.1)),
    "few": lambda n: (features(n // 2, n, seed=1), features(n // 3, n, seed=2, mean=0.1)),
    "few and many": lambda n: (features(n // 2, n, seed=1), features(3 * n, n, seed=2)),
    "twice the same": lambda n: (features(n // 2, n, seed=1).repeat(2, 1), normal(n, n, seed=2)),
    "collapsed": lambda n: (
        features(3 * n, n, seed=1),
        normal(3 * n, 20, seed=5) @ normal(20, n, seed=6) + 1e-6 * normal(3 * n, n, seed=7),
    ),
}


@pytest.mark.parametrize("which", SAMPLES)
def test_the_distance_of_features_decomposes_nothing(which, by_products):
    x, y = SAMPLES[which](150)
    expected = value_and_gradients(linalg.frechet_distance_from_features, x, y)
    by_products()
    found = value_and_gradients(linalg.frechet_distance_from_features, x, y)
    check_same(found, expected, 1e-8)


def test_dead_features_are_decomposed_for_their_gradient(by_products):
    x, y = dead(450, 150, seed=1), features(300, 150, seed=2)
    expected = value_and_gradients(linalg.frechet_distance_from_features, x, y)
    by_products(forbidden=())
    found = value_and_gradients(linalg.frechet_distance_from_features, x, y)
    check_same(found, expected, 1e-8)
