"""The kernels of nearest neighbours and balls against the specification."""

import pytest
import torch
from oracle import DEVICE

from ganfast import _dispatch, reference
from ganfast.backends.triton import neighbours as backend
from ganfast.errors import Refusal


def rows(n, d, seed, dtype=torch.float32, far=0.0):
    source = torch.Generator().manual_seed(seed)
    return (torch.randn(n, d, generator=source, dtype=torch.float64) + far).to(DEVICE, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n, d, k", [(2, 1, 1), (9, 3, 8), (64, 5, 3), (130, 7, 5), (140, 2, 33)])
def test_nearest_distances(n, d, k, dtype):
    x = rows(n, d, seed=n, dtype=dtype, far=1e3)
    x[n // 2 :: 5] = x[0]
    got = backend.nearest_distances(x, k)
    expected = reference.neighbours.nearest_distances(x, k)
    assert got.dtype == torch.float64 and got.shape == (n, k)
    torch.testing.assert_close(got, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "n, m, p, q", [(1, 1, 1, 1), (70, 130, 2, 1), (65, 3, 0, 2), (5, 64, 1, 0)]
)
def test_ball_counts(n, m, p, q):
    x, y = rows(n, 3, seed=1), rows(m, 3, seed=2)
    y[::7] = x[0]
    x_limits = torch.arange(1.0, 1 + p * n, device=DEVICE).double().view(p, n) / n
    y_limits = torch.arange(1.0, 1 + q * m, device=DEVICE).double().view(q, m) / m
    x_limits[:, ::3], y_limits[:, ::4] = -1.0, 0.0
    got = backend.ball_counts(x, y, x_limits, y_limits)
    expected = reference.neighbours.ball_counts(x, y, x_limits, y_limits)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == torch.int64 and torch.equal(mine, theirs)


def test_parts_share_the_neighbours_of_a_row(monkeypatch):
    x = rows(140, 4, seed=3)
    expected = backend.nearest_distances(x, 5)
    for programs in (1, 3, 1000):
        monkeypatch.setattr(backend, "_PROGRAMS", programs)
        assert torch.equal(backend.nearest_distances(x, 5), expected)


def test_the_rim_is_in_from_either_side():
    x = rows(90, 6, seed=4, far=100.0)
    nearest = backend.nearest_distances(x, 3)
    for column in range(3):
        limits = nearest[:, column : column + 1].T
        holds, _, _, inside = backend.ball_counts(x, x.clone(), limits, limits)
        assert (holds == column + 2).all() and torch.equal(inside.sum(), holds.sum())


def test_too_many_neighbours_are_refused():
    x = rows(70, 2, seed=5)
    with pytest.raises(Refusal, match="up to 64 neighbours, not 65"):
        backend.nearest_distances(x, 65)
    with _dispatch.backend("triton", "reference"):
        module = _dispatch.serve("neighbours", (x,))
        found = _dispatch.call("neighbours", module, "nearest_distances", x, 65)
    assert torch.equal(found, reference.neighbours.nearest_distances(x, 65))
