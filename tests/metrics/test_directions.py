"""The directions that carry FID's covariance term: closed forms, and what they add up to."""

from __future__ import annotations

import pytest
import torch

from ganfast.metrics import Statistics
from ganfast.metrics.distances.directions import covariance_directions

D = 6


def rotation(d=D):
    random = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=random)).Q


def side(deviations, mean=0.0, turn=None):
    turn = rotation() if turn is None else turn
    scale = torch.tensor(deviations, dtype=torch.float64)
    return Statistics(torch.full((D,), mean, dtype=torch.float64), (turn * scale**2) @ turn.T)


def test_of_covariances_with_common_axes():
    """There the term is the sum of (s - t)^2 over the axes."""
    real, fake = [1.0, 2.0, 3.0, 1.0, 1.0, 2.0], [1.0, 2.0, 0.5, 1.0, 2.5, 1.0]
    found = covariance_directions(side(real), side(fake, 5.0))
    for one, axis in zip(found, (2, 4, 5), strict=True):
        assert float((one.vector @ rotation()[:, axis]).abs()) == pytest.approx(1, abs=1e-9)
        assert (one.real, one.fake) == pytest.approx((real[axis], fake[axis]), rel=1e-9)
        assert one.share == pytest.approx((real[axis] - fake[axis]) ** 2 / (6.25 + 2.25 + 1))


def test_all_of_them_carry_the_whole_term():
    real, fake = side([1.0, 2, 3, 1, 1, 2]), side([2.0, 1, 1, 3, 2, 2], 1.0, rotation().T)
    found = covariance_directions(real, fake, number=D)
    assert sum(one.share for one in found) == pytest.approx(1, rel=1e-9)
    vectors = torch.stack([one.vector for one in found])
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(D, dtype=torch.float64))
    shares = [one.share for one in found]
    assert shares == sorted(shares, reverse=True)
    assert len(covariance_directions(real, fake, number=99)) == D
    # The other way round the displacement is the same one, backwards.
    for one, other in zip(found, covariance_directions(fake, real, number=D), strict=True):
        assert one.share == pytest.approx(other.share) and one.real == pytest.approx(other.fake)


def test_a_side_of_lower_rank():
    real, fake = side([1.0, 2, 3, 1, 1, 2]), side([1.0, 2, 0, 1, 0, 2])
    found = covariance_directions(real, fake, number=D)
    assert sum(one.share for one in found) == pytest.approx(1, rel=1e-6)
    assert found[0].share == pytest.approx(9 / 10) and found[0].fake == pytest.approx(0, abs=1e-6)


def test_equal_covariances_have_none():
    real = side([1.0, 2, 3, 1, 1, 2])
    assert covariance_directions(real, side([1.0, 2, 3, 1, 1, 2], 2.0)) == []
