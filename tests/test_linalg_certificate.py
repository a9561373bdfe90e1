"""The interval holds the trace whatever the polar factor, and is narrow where that can be."""

from __future__ import annotations

import mpmath
import pytest
import torch

from ganfast.linalg import certificate, trace_interval, trace_sqrtm
from ganfast.linalg.polar import polar_factor
from testing.gaussians import CASES, normal, pair


def interval(a, b):
    low, high = map(float, trace_interval(a, b))
    assert 0 <= low <= high
    return low, high


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [12, 100, 300])
@pytest.mark.parametrize("swap", [False, True])
def test_holds_the_trusted_value(case, n, swap):
    a, b, trace, *_ = pair(case, n)
    low, high = interval(b, a) if swap else interval(a, b)
    assert low <= trace <= high
    if case != "collapsed":
        assert high - low <= 1e-8 * trace
    elif n > 12:  # its trace is badly determined by the rounded matrices, and the interval says so
        assert 1e-9 * trace < high - low < 1e-3 * trace


@pytest.mark.parametrize("case", CASES)
def test_holds_the_trace_of_fifty_digits(case):
    """Of the very matrices that are given, rounded as they are."""
    a, b, *_ = pair(case, 12)
    with mpmath.workdps(50):
        w, v = mpmath.eigsy(mpmath.matrix(a.tolist()))
        root = v * mpmath.diag([mpmath.sqrt(max(x, 0)) for x in w]) * v.T
        eigenvalues, _ = mpmath.eigsy(root * mpmath.matrix(b.tolist()) * root)
        trace = mpmath.fsum(mpmath.sqrt(max(x, 0)) for x in eigenvalues)
        low, high = interval(a, b)
        # Below n eps of the largest an eigenvalue counts as zero: 1e-8 of root is not in question.
        slack = 1e-7 * trace if case in ("few samples", "condition 1e16") else 0
        assert low - slack <= trace <= high + slack


ROUGH = {
    "noisy": lambda c: polar_factor(c) + 1e-3 * normal(*c.shape, seed=9),
    "too long": lambda c: 1.5 * polar_factor(c),
    "too short": lambda c: 0.5 * polar_factor(c),
    "another": lambda c: torch.eye(*c.shape, dtype=c.dtype),
    "opposite": lambda c: -polar_factor(c),
    "nothing": torch.zeros_like,
}


@pytest.mark.parametrize("rough", ROUGH)
@pytest.mark.parametrize("case", CASES[:2])
def test_holds_for_any_unitary(case, rough, monkeypatch):
    a, b, trace, *_ = pair(case, 60)
    monkeypatch.setattr(certificate, "_polar", ROUGH[rough])
    low, high = interval(a, b)
    assert low <= trace <= high
    if rough == "noisy":
        assert low > 0.9 * trace


@pytest.mark.parametrize("case", CASES[:3])
@pytest.mark.parametrize("n", [100, 200, 300])
def test_narrow_by_products_alone(case, n, monkeypatch):
    """The polar factor that a GPU computes."""
    monkeypatch.setattr(certificate, "_polar", polar_factor)
    a, b, trace, *_ = pair(case, n)
    low, high = interval(a, b)
    assert low <= trace <= high and high - low <= 1e-8 * trace


def test_zero():
    zero, eye = torch.zeros(8, 8).double(), torch.eye(8).double()
    for a, b in ((zero, eye), (eye, zero), (zero, zero)):
        low, high = interval(a, b)
        assert low == 0 and high < 1e-280


def test_refuses_an_indefinite_matrix():
    eye = torch.eye(8).double()
    with pytest.raises(ValueError, match="a: .* not positive semi-definite"):
        trace_interval(eye - 2 * torch.diag(eye[0]), eye)


def test_batches_kinds_and_scales():
    a, b, _, _, _ = pair("full rank", 20)
    stack = torch.stack([a, 1e150 * a, 1e-150 * a])
    low, high = trace_interval(stack.numpy(), b.numpy())
    found = trace_sqrtm(stack, b).numpy()
    assert low.shape == (3,) and (low <= found).all() and (found <= high).all()
    assert ((high - low) <= 1e-8 * found).all()
    assert trace_interval(stack[:0], b)[0].shape == (0,)
    with pytest.raises(ValueError, match="b: .* size of a"):
        trace_interval(a, b[1:, 1:])
