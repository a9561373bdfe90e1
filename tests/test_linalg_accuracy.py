"""Traces and roots against answers that are known, where the usual ways lose half the digits."""

import mpmath
import pytest
import torch

from ganfast.linalg import frechet_distance, frechet_distance_from_features, sqrtm, trace_sqrtm
from ganfast.linalg.factor import eigenvector_factor, pivoted_cholesky
from testing import gaussians

pytestmark = pytest.mark.usefixtures("one_thread")


# Rounding a covariance to float64 hides what a collapsed generator has left of its spectrum.
BOUND = dict.fromkeys(gaussians.CASES, 1e-12) | {"collapsed": 1e-8}


@pytest.mark.parametrize("n", [48, 300])
@pytest.mark.parametrize("case", gaussians.CASES)
def test_trace(case, n):
    a, b, trace, _, _ = gaussians.pair(case, n)
    bound = BOUND[case] if n > 64 else max(BOUND[case], 1e-11)
    if case == "collapsed" and n <= 64:
        bound = 1e-7  # eigenvectors, not Cholesky: the noise is dropped, see factor.py
    assert float(trace_sqrtm(a, b)) == pytest.approx(trace, rel=bound)
    assert float(trace_sqrtm(b, a)) == pytest.approx(trace, rel=bound)


@pytest.mark.parametrize("case", ["full rank", "few samples", "collapsed"])
def test_distance_from_features(case):
    a, b, trace, x, y = gaussians.pair(case, 200)
    means = (x.mean(0) - y.mean(0)).square().sum()
    expected = float(means + a.trace() + b.trace()) - 2 * trace
    assert float(frechet_distance_from_features(x, y)) == pytest.approx(expected, abs=1e-12 * trace)
    moments = frechet_distance(x.mean(0), a, y.mean(0), b)
    assert float(moments) == pytest.approx(expected, abs=4 * BOUND[case] * trace)


@pytest.mark.parametrize("counts", [(30, 90), (90, 30), (2, 2), (2, 90), (41, 41), (40, 41)])
def test_features_of_any_two_counts(counts):
    x = gaussians.features(counts[0], 40, seed=1)
    y = gaussians.features(counts[1], 40, seed=2, mean=0.3)
    trace = gaussians.trace_of_samples(x, y)
    expected = (x.mean(0) - y.mean(0)).square().sum() + torch.cov(x.T).trace()
    expected = float(expected + torch.cov(y.T).trace()) - 2 * trace
    distance = float(frechet_distance_from_features(x, y))
    assert distance == pytest.approx(expected, abs=1e-13 * abs(trace) + 1e-13)


def exact_trace(a, b):
    """In 50 digits, by the eigenvalues of L^T a L with b = L L^T."""
    factor = mpmath.cholesky(b)
    values = mpmath.eigsy(factor.T * a * factor, eigvals_only=True)
    return sum(mpmath.sqrt(w) for w in values)


@pytest.mark.parametrize("condition", [4, 14])
def test_fifty_digits(condition):
    """No further from the exact trace than rounding the two matrices once can take it.

    dT/da is positive semi-definite, so of all changes of ``a`` of norm h none moves the trace more
    than h I. At condition 1e14 that is 1e-9: which digits below it come out is up to LAPACK.
    """
    n = 12
    q, p = gaussians.orthogonal(n, 1), gaussians.orthogonal(n, 2)
    a = (q * torch.logspace(0, -condition, n, dtype=torch.float64)) @ q.T
    b = (p * torch.logspace(0, -2, n, dtype=torch.float64)) @ p.T
    a, b = (a + a.T) / 2, (b + b.T) / 2
    with mpmath.workdps(50):
        exact_a, exact_b = mpmath.matrix(a.tolist()), mpmath.matrix(b.tolist())
        trace = exact_trace(exact_a, exact_b)
        step = mpmath.eye(n) * mpmath.mpf(10) ** -30
        moved = exact_trace(exact_a + step, exact_b) + exact_trace(exact_a, exact_b + step)
        sensitivity = float((moved - 2 * trace) * mpmath.mpf(10) ** 30)
        error = float(abs(mpmath.mpf(float(trace_sqrtm(a, b))) - trace))
    assert error <= 4 * torch.finfo(torch.float64).eps * sensitivity
    if condition == 4:
        assert error <= 1e-13


@pytest.mark.parametrize("n, rank", [(70, 69), (200, 1), (200, 100), (130, 128)])
def test_pivoted_cholesky_finds_the_rank(n, rank):
    rows = gaussians.normal(rank, n, seed=8) * torch.logspace(0, -4, n, dtype=torch.float64)
    a = rows.T @ rows
    factor, order = pivoted_cholesky(a)
    assert float(factor[order].triu(1).abs().max()) == 0
    assert factor.shape[0] == n and rank <= factor.shape[1] <= rank + 1
    assert float((factor @ factor.T - a).abs().max()) <= 1e-13 * float(a.abs().max())


def test_pivoted_cholesky_leaves_indefinite_matrices_to_eigenvalues():
    q = gaussians.orthogonal(100, 9)
    w = torch.ones(100, dtype=torch.float64)
    w[0] = -1e-6  # less than float32 round-off: counts as zero
    a = (q * w) @ q.T
    assert pivoted_cholesky(a) is None
    assert eigenvector_factor(a, 1e-5).shape == (100, 99)
    assert float(trace_sqrtm(a, torch.eye(100).double())) == pytest.approx(99, rel=1e-5)


@pytest.mark.parametrize("power_a, power_b", [(-150, -150), (150, 150), (-150, 150), (-150, 0)])
@pytest.mark.parametrize("n", [20, 100])
def test_scale(power_a, power_b, n):
    a, b, trace, _, _ = gaussians.pair("few samples", n)
    scaled = float(trace_sqrtm(a * 10.0**power_a, b * 10.0**power_b))
    assert scaled == pytest.approx(trace * 10.0 ** ((power_a + power_b) / 2), rel=1e-12)
    x = sqrtm(a * 10.0**power_a) * 10.0 ** (-power_a / 2)
    assert float((x @ x - a).abs().max()) <= 1e-13 * float(a.abs().max())


@pytest.mark.parametrize("n", [3, 80])
def test_zero_and_orthogonal_ranges(n):
    zero, one = torch.zeros(n, n).double(), torch.eye(n).double()
    assert float(trace_sqrtm(zero, zero)) == 0 == float(trace_sqrtm(zero, one))
    assert float(sqrtm(zero).abs().max()) == 0
    half = torch.arange(n) < n // 2
    apart = trace_sqrtm(one * half, one * ~half)
    assert float(apart) == 0


def test_ascending_diagonal_keeps_its_small_eigenvalues():
    """The order in which a reduction to tridiagonal form that starts at the top loses digits."""
    d = torch.logspace(-11, 0, 90, dtype=torch.float64)
    mix = torch.eye(90).double() + 0.1 * gaussians.normal(90, 90, seed=1).tril(-1) / 9
    a = (mix * d) @ mix.T
    assert float(trace_sqrtm(a, torch.linalg.inv(a))) == pytest.approx(90, rel=1e-4)
    assert float(trace_sqrtm(a, a)) == pytest.approx(float(a.trace()), rel=1e-13)


@pytest.mark.parametrize("n", [8, 70])
def test_batches_broadcast_and_equal_single_calls(n):
    singular = gaussians.normal(2, n, seed=1)
    stack = [gaussians.pair("full rank", n).a, singular.T @ singular, torch.zeros(n, n).double()]
    a, b = torch.stack(stack)[:, None], torch.stack(stack)[None]
    traces = trace_sqrtm(a, b)
    assert traces.shape == (3, 3)
    for i in range(3):
        for j in range(3):
            single = float(trace_sqrtm(stack[i], stack[j]))
            assert float(traces[i, j]) == pytest.approx(single, rel=1e-7, abs=1e-9)
    roots = sqrtm(torch.stack(stack))
    assert torch.allclose(roots @ roots, torch.stack(stack), atol=1e-12)
    assert torch.equal(roots, roots.mT) or torch.allclose(roots, roots.mT, atol=1e-13)


def test_classes_in_one_call():
    x = gaussians.normal(3, 10, 6, seed=1)
    y = gaussians.normal(3, 9, 6, seed=2)
    together = frechet_distance_from_features(x, y)
    alone = [frechet_distance_from_features(i, j) for i, j in zip(x, y, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-12, atol=1e-12)
    shared = frechet_distance_from_features(x, y[0])
    assert shared.shape == (3,) and float(shared[0]) == pytest.approx(float(together[0]))


def test_float32_is_computed_in_float64():
    a, b, _, x, y = gaussians.pair("few samples", 100)
    a, b = a.float(), b.float()
    result = trace_sqrtm(a, b)
    assert result.dtype == torch.float64
    assert float(result) == pytest.approx(float(trace_sqrtm(a.double(), b.double())), rel=1e-14)
    assert sqrtm(a).dtype == torch.float32
    assert frechet_distance_from_features(x.float(), y.float()).dtype == torch.float64


def test_empty():
    assert trace_sqrtm(torch.zeros(0, 3, 3), torch.eye(3)).shape == (0,)
    assert float(trace_sqrtm(torch.zeros(0, 0), torch.zeros(0, 0))) == 0
    assert sqrtm(torch.zeros(0, 3, 3)).shape == (0, 3, 3)
