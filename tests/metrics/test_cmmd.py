"""CMMD against its formula, its own error bar, and where its value is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganfast.errors import InputError
from ganfast.metrics import cmmd
from ganfast.metrics.distances import cmmd as module


def gaussian(n, d, seed, mean=0.0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=source, dtype=torch.float64) + mean


def by_definition(x, y, sigma=10.0):
    """All pairs, by differences."""
    x, y = (z.double() / z.double().norm(dim=1, keepdim=True) for z in (x, y))

    def kernel(a, b):
        return torch.exp(-(a[:, None] - b).square().sum(2) / (2 * sigma**2))

    def among(a):
        return float(kernel(a, a).fill_diagonal_(0).sum()) / (len(a) * (len(a) - 1))

    return 1000 * (among(x) + among(y) - 2 * float(kernel(x, y).mean()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("sizes", [(40, 50), (2, 7)])
def test_the_definition(sizes, dtype):
    x, y = gaussian(sizes[0], 6, 0).to(dtype), gaussian(sizes[1], 6, 1, 0.3).to(dtype)
    assert cmmd(x, y).cmmd == pytest.approx(by_definition(x, y), rel=1e-9)
    other = cmmd(x, y, sigma=0.5, scale=1).cmmd
    assert other == pytest.approx(by_definition(x, y, 0.5) / 1000, rel=1e-9, abs=1e-14)


def test_the_authors_estimate_keeps_the_diagonal():
    x, y = gaussian(30, 5, 0), gaussian(40, 5, 1, 0.5)
    x, y = (z / z.norm(dim=1, keepdim=True) for z in (x, y))
    k_xx, k_yy, k_xy = (
        torch.exp(-(a[:, None] - b).square().sum(2) / 200) for a, b in ((x, x), (y, y), (x, y))
    )
    theirs = 1000 * float(k_xx.mean() + k_yy.mean() - 2 * k_xy.mean())
    kept = sum(1000 * (1 - float(k.sum() - len(k)) / (len(k) * (len(k) - 1))) / len(k)
               for k in (k_xx, k_yy))  # fmt: skip
    assert theirs == pytest.approx(cmmd(x, y).cmmd + kept, rel=1e-9)


def test_tiles_lengths_and_kinds_do_not_matter(monkeypatch):
    x, y = gaussian(33, 6, 0), gaussian(21, 6, 1)
    wanted = cmmd(x, y)
    lengths = torch.linspace(0.1, 9, 33, dtype=torch.float64)[:, None]
    assert cmmd(x * lengths, 3 * y.numpy()) == pytest.approx(wanted, rel=1e-9)
    monkeypatch.setattr(module, "_TILE", 10)
    assert cmmd(x, y) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_error_bar(shift):
    """Over new samples the values deviate as they say; without a difference by less."""
    found = [cmmd(gaussian(60, 4, seed), gaussian(80, 4, 999 + seed, shift)) for seed in range(150)]
    values, errors = map(np.array, zip(*found, strict=True))
    ratio = errors.mean() / values.std(ddof=1)
    assert 0.85 < ratio < (1.2 if shift else 2.2)
    if not shift:  # unbiased: its mean is within four of its own errors of 0
        assert abs(values.mean()) < 4 * values.std(ddof=1) / math.sqrt(150)
        assert (values < 0).any()


def test_opposite_points():
    """Two directions: k = 1 among each, exp(-4 / 200) between."""
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    value, error = cmmd(x, -x)
    assert value == pytest.approx(2000 * (1 - math.exp(-4 / 200)), rel=1e-12) and error == 0
    assert cmmd(x, x).cmmd == pytest.approx(0, abs=1e-9)


def test_bad_input():
    good = torch.ones(4, 3)
    for x, y, more, words in (
        (good, good[:, :2], {}, "y: got 2 features, where x has 3"),
        (good[:1], good, {}, r"x: got shape \(1, 3\); give \(n, d\) with at least 2 rows"),
        (good, good * 0, {}, "y: got rows of zeros"),
        (good, good, {"sigma": 0}, "sigma: got 0; give a finite number above 0"),
        (good, good, {"scale": -1}, "scale: got -1"),
    ):
        with pytest.raises(InputError, match=f"^{words}"):
            cmmd(x, y, **more)
