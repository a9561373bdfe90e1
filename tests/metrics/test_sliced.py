"""The sliced Wasserstein distance against SciPy's on each line, and where its value is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganfast.errors import InputError, InputTypeError
from ganfast.metrics import sliced_wasserstein


def gaussian(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lines(count, d, seed):
    found = gaussian(count, d, seed)
    return found / found.norm(dim=1, keepdim=True)


def by_definition(x, y, count, seed):
    """Quantile by quantile: by all pairs of parts of [0, 1], no sorting of cuts."""
    n, m, found = len(x), len(y), []
    for line in lines(count, x.shape[1], seed):
        a, b = (x.double() @ line).sort().values, (y.double() @ line).sort().values
        low = torch.maximum(torch.arange(n)[:, None] / n, torch.arange(m) / m)
        high = torch.minimum(torch.arange(1, n + 1)[:, None] / n, torch.arange(1, m + 1) / m)
        plan = (high.double() - low.double()).clamp_min(0)  # the transport plan of the sorted
        found.append(float((plan * (a[:, None] - b).square()).sum()))
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(count))


@pytest.mark.parametrize("sizes", [(40, 40), (40, 30), (7, 90), (1, 5)])
def test_the_definition(sizes):
    x, y = gaussian(sizes[0], 5, 1), 1.5 * gaussian(sizes[1], 5, 2) + 0.3
    wanted = by_definition(x, y, 20, seed=4)
    # The plan above rounds its ends to float32's 1e-7.
    assert sliced_wasserstein(x, y, directions=20, seed=4) == pytest.approx(wanted, rel=1e-5)


def test_each_line_is_scipys():
    """Which has W_1 of points with weights; here all are on one line, and W_2 of a shift is its
    square."""
    stats = pytest.importorskip("scipy.stats")
    x = gaussian(50, 1, 0)
    value, error = sliced_wasserstein(x, x + 0.25, directions=3)
    assert value == pytest.approx(stats.wasserstein_distance(x[:, 0], x[:, 0] + 0.25) ** 2)
    assert error == pytest.approx(0, abs=1e-12)  # one dimension has one line


def test_an_assignment_is_not_better_than_the_sorted():
    optimize = pytest.importorskip("scipy.optimize")
    x, y = gaussian(30, 3, 0), gaussian(30, 3, 1).exp()
    line = lines(1, 3, 7)[0]
    costs = ((x @ line)[:, None] - y @ line).square().numpy()
    best = costs[optimize.linear_sum_assignment(costs)].mean()
    assert sliced_wasserstein(x, y, directions=1, seed=7)[0] == pytest.approx(best, rel=1e-12)


def test_equal_sets_are_at_zero():
    x = gaussian(300, 20, 0)
    value, error = sliced_wasserstein(x, x.flip(0), directions=50)
    assert 0 <= value < 1e-25 and error < 1e-25
    twice = sliced_wasserstein(x, x.repeat_interleave(3, 0), directions=50)[0]
    assert 0 <= twice < 1e-25
    assert sliced_wasserstein(x.float(), x.float().flip(0), directions=50)[0] < 1e-12


def test_a_shift_is_its_mean_square():
    """E (u.a)^2 = |a|^2 / d for u uniform on the sphere of d dimensions, whatever the set."""
    x, shift = gaussian(100, 16, 0), 3 * gaussian(1, 16, 1)
    value, error = sliced_wasserstein(x, x + shift, directions=4000)
    expected = float(shift.square().sum()) / 16
    assert abs(value - expected) < 4 * error and error < 0.05 * expected
    # And one seed is one set of lines: 2 a is 4 times as far.
    assert sliced_wasserstein(x, x + 2 * shift, directions=4000)[0] == pytest.approx(4 * value)


def test_a_scale_is_known_in_the_limit():
    """Of N(0, 1) and N(0, s^2) on every line: (s - 1)^2."""
    value, _ = sliced_wasserstein(gaussian(20_000, 3, 0), 2 * gaussian(20_000, 3, 1), directions=64)
    assert value == pytest.approx(1, rel=0.02)


def test_it_sees_what_two_moments_do_not():
    x = gaussian(4000, 1, 0)
    two_points = x.sign()  # mean 0 and variance 1 as well
    same = sliced_wasserstein(x, gaussian(4000, 1, 1), directions=2)[0]
    assert sliced_wasserstein(x, two_points, directions=2)[0] > 50 * same


def test_the_error_bar_is_that_of_the_directions():
    x, y = gaussian(60, 30, 0), gaussian(60, 30, 1) + 0.2
    # From 9 on: the seeds 0 and 1 would give the directions of the first rows.
    values = [sliced_wasserstein(x, y, directions=40, seed=seed) for seed in range(9, 69)]
    means, errors = map(np.array, zip(*values, strict=True))
    assert means.std(ddof=1) == pytest.approx(errors.mean(), rel=0.3)
    assert math.isnan(sliced_wasserstein(x, y, directions=1)[1])


def test_features_far_from_the_origin_in_float32():
    x, y = gaussian(200, 30, 0) + 1e3, gaussian(150, 30, 1) + 1e3 + 0.1
    x, y = x.float(), y.float()
    wanted = sliced_wasserstein(x.double(), y.double(), directions=64)
    assert sliced_wasserstein(x, y, directions=64) == pytest.approx(wanted, rel=1e-6)


def test_arrays_of_any_kind_parts_and_trace(monkeypatch):
    x, y = gaussian(60, 5, 0), gaussian(50, 5, 1)
    expected = sliced_wasserstein(x, y, directions=30)
    kept = x.clone()
    assert sliced_wasserstein(x.numpy()[::-1], y.requires_grad_(), directions=30) == pytest.approx(
        expected, rel=1e-13
    )
    from ganfast.metrics.distances import sliced

    monkeypatch.setattr(sliced, "_NUMBERS", 60 * 7)
    assert sliced_wasserstein(x, y, directions=30) == pytest.approx(expected, rel=1e-13)
    assert torch.equal(x, kept)
    narrow = sliced_wasserstein(x.half(), y.bfloat16(), directions=30)
    assert narrow == pytest.approx(expected, rel=0.05)


def test_bad_input():
    good = torch.arange(30.0).view(10, 3)
    for x, y, more, words in (
        (good, good[:, :2], {}, "y: got 2 features, where x has 3"),
        (good, good / 0, {}, "y: got NaN or inf"),
        (good[:0], good, {}, r"x: got shape \(0, 3\); give \(n, d\) with at least 1 rows"),
        (good, good, {"directions": 0}, "directions: got 0; give a whole number of at least 1"),
        (good, good, {"seed": -1}, "seed: got -1; give a whole number of at least 0"),
    ):
        with pytest.raises(InputError, match=f"^{words}"):
            sliced_wasserstein(x, y, **more)
    with pytest.raises(InputTypeError, match="^x: got torch.int64"):
        sliced_wasserstein(good.long(), good)
