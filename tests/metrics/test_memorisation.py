"""Near copies of training images: the definition, and generators that copy or do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganfast.errors import InputError
from ganfast.metrics import memorisation
from ganfast.metrics.distances import memorisation as module
from ganfast.metrics.distances.memorisation import nearest_rows


def gaussian(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(real, fake):
    """Each fake row's (is it a near copy, nearest real row, ratio), from all pairs."""
    between = (fake[:, None] - real).square().sum(2).sqrt()
    apart = (real[:, None] - real).square().sum(2).sqrt().fill_diagonal_(torch.inf).amin(1)
    distance, nearest = between.min(1)
    ratio = torch.where(distance == 0, 0.0, distance / apart[nearest])
    return ratio < 1, nearest, ratio


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_the_definition(dtype):
    real, fake = gaussian(90, 4, 0).to(dtype), gaussian(70, 4, 1).to(dtype)
    fake[3], fake[7] = real[20], real[5] + 0.01
    found = memorisation(real, fake, worst=5)
    copies, nearest, ratio = by_definition(real.double(), fake.double())
    assert found.share == pytest.approx(float(copies.double().mean()), abs=1e-12)
    order = ratio.argsort()[:5].tolist()
    assert [pair[:2] for pair in found.pairs] == [(i, int(nearest[i])) for i in order]
    assert [pair[2] for pair in found.pairs] == pytest.approx(ratio[order].tolist(), rel=1e-12)
    assert found.pairs[0] == (3, 20, 0.0)
    held_out, _, _ = by_definition(real[:45].double(), real[45:].double())
    assert found.expected == pytest.approx(float(held_out.double().mean()), abs=1e-12)


def by_definition_of_three(real, rows, others):
    """Each row's (is it a near copy, ratio): nearer to its nearest real row than all others are;
    ``others`` (l, d), or for each row which of these, (n, l)."""
    between = (rows[:, None] - real).square().sum(2).sqrt()
    distance, nearest = between.min(1)
    to_others = (real[nearest][:, None] - others).square().sum(2).sqrt()
    if others is rows:
        to_others.fill_diagonal_(torch.inf)
    ratio = torch.where(distance == 0, 0.0, distance / to_others.amin(1))
    return ratio < 1, ratio


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_the_definition_with_held_out_rows(dtype):
    real, fake, held_out = (gaussian(n, 4, n).to(dtype) for n in (90, 70, 50))
    fake[3], fake[7] = real[20], real[5] + 0.01
    found = memorisation(real, fake, held_out=held_out, worst=5)
    wide = [side.double() for side in (real, fake, held_out)]
    copies, ratio = by_definition_of_three(*wide)
    assert found.share == pytest.approx(float(copies.double().mean()), abs=1e-12)
    order = ratio.argsort()[:5].tolist()
    assert [pair[0] for pair in found.pairs] == order and found.pairs[0] == (3, 20, 0.0)
    assert [pair[2] for pair in found.pairs] == pytest.approx(ratio[order].tolist(), rel=1e-12)
    expected, _ = by_definition_of_three(wide[0], wide[2], wide[2])
    assert found.expected == pytest.approx(float(expected.double().mean()), abs=1e-12)
    assert 0 < found.expected < 1


def test_held_out_rows_tell_who_was_copied():
    real, held_out = gaussian(400, 16, 0), gaussian(300, 16, 5)
    fresh = memorisation(real, gaussian(400, 16, 1), held_out=held_out)
    assert abs(fresh.share - fresh.expected) < 0.1
    copied = memorisation(real, real[:200] + 0.3 * gaussian(200, 16, 2), held_out=held_out)
    assert copied.share > 0.95 and copied.expected == fresh.expected
    # A generator that copies what was held out copies nothing that it was trained on.
    other = memorisation(real, held_out + 0.01 * gaussian(300, 16, 2), held_out=held_out)
    assert other.share < 0.9 * copied.share
    leaked = memorisation(real, gaussian(40, 16, 1), held_out=torch.cat([held_out, real[:300]]))
    assert leaked.expected > 0.5


def test_new_samples_are_as_expected():
    """Of points on a line two thirds are the nearest of their nearest."""
    found = memorisation(gaussian(3000, 1, 0), gaussian(3000, 1, 1))
    assert found.share == pytest.approx(2 / 3, abs=0.03)
    assert found.expected == pytest.approx(2 / 3, abs=0.04)


def test_a_generator_that_copies_is_told():
    real = gaussian(400, 16, 0)
    fresh = memorisation(real, gaussian(400, 16, 1))
    copied = memorisation(real, real.flip(0) + 0.05 * gaussian(400, 16, 2))
    assert copied.share == 1.0 and len(copied.pairs) == 10 and copied.pairs[0][2] < 0.1
    assert abs(fresh.share - fresh.expected) < 0.1 and fresh.share < 0.7
    assert copied.expected == fresh.expected
    half = memorisation(real, torch.cat([real[:200] + 0.01, gaussian(200, 16, 1)]))
    assert half.share == pytest.approx((1 + fresh.share) / 2, abs=0.05)
    far = memorisation(real, gaussian(50, 16, 1) + 100)
    assert far.share == 0.0 and far.pairs == ()


def test_duplicates():
    """A copy of an image that the training set has twice is a copy."""
    real = gaussian(20, 3, 0)
    real[7] = real[6]
    found = memorisation(real, torch.stack([real[6], real[6] + 1e-9, real[0]]))
    assert found.share == pytest.approx(2 / 3) and [pair[0] for pair in found.pairs] == [0, 2]
    assert found.pairs[0][1] in (6, 7)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_the_nearest_is_found_where_round_off_hides_it(shift, monkeypatch):
    """Of rows that float32 cannot tell apart, more than there are candidates."""
    y = gaussian(60, 5, 0) + shift
    y[:40] = y[0] + 1e-9 * gaussian(40, 5, 1)
    x = torch.cat([y[:1] + 1e-7 * gaussian(30, 5, 2), gaussian(30, 5, 3) + shift])
    distance = (x[:, None] - y).square().sum(2)
    found, index = nearest_rows(x, y)
    assert torch.equal(found, distance.min(1).values)
    assert torch.equal(distance.gather(1, index[:, None])[:, 0], found)
    monkeypatch.setattr(module, "_PRODUCTS", 7 * 60)
    assert torch.equal(nearest_rows(x, y)[0], found)


def test_arrays_and_bad_input():
    real, fake = gaussian(30, 5, 0), gaussian(20, 5, 1)
    assert memorisation(real.numpy()[::-1], fake.numpy()).share == memorisation(real, fake).share
    for one, two, more, words in (
        (real[:3], fake, {}, r"real: got shape \(3, 5\); give \(n, d\) with at least 4 rows"),
        (real, fake[:, :2], {}, "fake: got 2 features, where real has 5"),
        (real, fake * np.nan, {}, "fake: got NaN or inf"),
        (real, fake, {"worst": -1}, "worst: got -1; give a whole number of at least 0"),
    ):
        with pytest.raises(InputError, match=f"^{words}"):
            memorisation(one, two, **more)


def test_held_out_rows_that_cannot_be():
    real, fake = gaussian(9, 3, 0), gaussian(5, 3, 1)
    for rows, message in (
        (gaussian(1, 3, 2), "held_out: got shape .* at least 2 rows"),
        (gaussian(5, 4, 2), "held_out: got 4 features, where real has 3"),
        ([1.0], "held_out: got list"),
        (gaussian(5, 3, 2) * torch.nan, "held_out: got NaN or inf"),
    ):
        with pytest.raises(InputError, match=message):
            memorisation(real, fake, held_out=rows)
