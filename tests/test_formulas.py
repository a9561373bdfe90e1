"""gan_math.h and the reference against 60-digit arithmetic, at ordinary and at extreme logits."""

from __future__ import annotations

import mpmath
import pytest
import torch
import truth

from ganfast import reference
from ganfast.games import GAMES, PHIS

POINTS = (-1e4, -745.2, -100, -37, -1.5, -1e-9, 0.0, 1e-9, 0.5, 2, 36.7, 100, 700, 1e4)
TARGETS = (0.0, 1.0, 0.9, -0.2, 1.3)

EXACT = {
    "cross_entropy": lambda x, t: mpmath.log1p(mpmath.exp(x)) - t * x,
    "negative_cross_entropy": lambda x, t: t * x - mpmath.log1p(mpmath.exp(x)),
    "linear": lambda x, t: (1 - 2 * t) * x,
    "hinge": lambda x, t: max(mpmath.mpf(0), 1 + (1 - 2 * t) * x),
    "half_square": lambda x, t: (x - t) ** 2 / 2,
    "negative_exponential": lambda x, t: -mpmath.exp(x),
}


def exact(name, order, x, t):
    with mpmath.workdps(60):
        x, t = mpmath.mpf(x), mpmath.mpf(t)
        if name == "hinge" and order:
            sign = 1 - 2 * t
            return sign if order == 1 and 1 + sign * x > 0 else mpmath.mpf(0)
        if name.endswith("cross_entropy") and order:
            sign = -1 if name.startswith("negative") else 1
            p = 1 / (1 + mpmath.exp(-x))
            return sign * (p - t if order == 1 else p / (1 + mpmath.exp(x)))
        return mpmath.diff(lambda x: EXACT[name](x, t), x, order) if order else EXACT[name](x, t)


def close(got, x, t, expected, order):
    # Two roundings of the largest number that the formula can't avoid.
    size = max(abs(expected), abs(x) + abs(t) if order else 0 if t in (0, 1) else abs(x))
    if expected == 0 or abs(expected) < 1e-300:
        return abs(got) <= max(4e-16 * float(size if order else 0), 1e-300)
    return abs(got - float(expected)) <= 4e-16 * float(size) or got == float(expected)


@pytest.mark.skipif("cpu" not in truth.backends(), reason="the C++ kernels were not built")
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", PHIS)
def test_gan_math(name, order):
    from ganfast import _cpu

    for x in POINTS:
        for t in TARGETS:
            if name == "hinge" and abs(1 + (1 - 2 * t) * x) < 1e-12:
                continue
            got = _cpu.evaluate(PHIS[name].id, order, x, t)
            expected = exact(name, order, x, t)
            if name == "negative_exponential" and x > 709:
                assert got == float("-inf")
            else:
                assert close(got, x, t, expected, order), (x, t, got, float(expected))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", PHIS)
def test_reference(name, order):
    function = reference.PHI[name][order]
    for t in TARGETS:
        got = function(torch.tensor(POINTS, dtype=torch.float64), t)
        for x, value in zip(POINTS, got.tolist(), strict=True):
            expected = exact(name, order, x, t)
            if name == "negative_exponential" and x > 709:
                assert value == float("-inf")
            else:
                assert close(value, x, t, expected, order), (x, t, value, float(expected))


def test_every_phi_is_used_and_known():
    used = {row.discriminator for row in GAMES.values()} | {row.generator for row in GAMES.values()}
    assert used == set(PHIS) == set(reference.PHI)
    assert [phi.id for phi in PHIS.values()] == list(range(len(PHIS)))
