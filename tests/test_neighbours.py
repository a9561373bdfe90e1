"""Nearest neighbours and balls: as exact as sums of squared differences in float64, whatever made
the products of the tiles."""

from __future__ import annotations

import pytest
import torch
import truth

import ganfast
from ganfast import _dispatch, reference
from ganfast.errors import Refusal

exact = reference.neighbours
on_cpu = pytest.mark.skipif(
    "cpu" not in truth.backends(), reason="the C++ kernels were not built"
)  # fmt: skip


def backends():
    return ["reference", *(["cpu"] if "cpu" in truth.backends() else [])]


def served(function, *arguments, by="cpu"):
    with ganfast.backend(by):
        module = _dispatch.serve("neighbours", arguments[:1])
        return _dispatch.call("neighbours", module, function, *arguments)


def randn(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def far(n, d):
    """10^4 times as far from the origin as from one another: float32 keeps 3 digits of a square."""
    return randn(n, d) + 1e4


def duplicates(n, d):
    x = randn(n, d).round()
    x[n // 3 :] = x[torch.arange(n - n // 3) % 7]
    return x


def tight_modes(n, d):
    """Neighbours that a product in float32 can't tell apart."""
    return randn(5, d).repeat(n // 5 + 1, 1)[:n] + 1e-4 * randn(n, d, seed=1)


def of_many_sizes(n, d):
    return randn(n, d) * torch.logspace(-12, 12, n, dtype=torch.float64)[:, None]


def tiny(n, d):
    return 1e-30 * randn(n, d)


def all_the_same(n, d):
    return randn(1, d).repeat(n, 1)


ROWS = [far, duplicates, tight_modes, of_many_sizes, tiny, all_the_same]


def squared(x, y):
    return (x.double()[:, None] - y.double()).square().sum(2)


@pytest.mark.parametrize("by", backends())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_adversarial_rows(rows, dtype, by):
    x, y = rows(211, 19).to(dtype), rows(300, 19)[89:].flip(1).to(dtype)
    all_pairs = squared(x, x).fill_diagonal_(torch.inf)
    for k in (1, 5, 40):
        found = served("nearest_distances", x, k, by=by)
        expected = all_pairs.topk(k, largest=False).values
        # (19 + 2) roundings of 1.1e-16
        torch.testing.assert_close(found, expected, rtol=2.4e-15, atol=0)
    limits = found[:, [2, 30]].T * (1 + 1e-12), found[:, 7][None] * (1 + 1e-12)
    counts = served("ball_counts", x, y, *limits, by=by)
    inside = squared(x, y) <= limits[0][:, :, None]
    assert torch.equal(counts[0], inside.sum(2)) and torch.equal(counts[1], inside.sum(1))
    inside = squared(x, y) <= limits[1][:, None]
    assert torch.equal(counts[2], inside.sum(1)) and torch.equal(counts[3], inside.sum(2))


@pytest.mark.parametrize("by", backends())
def test_the_rim_is_in_and_the_number_before_it_is_not(by):
    """Which takes that the distance of (x, y) is that of (y, x), to the last bit."""
    x = randn(150, 33).float()
    nearest = served("nearest_distances", x, 3, by=by)
    closed = nearest[:, 2][None].contiguous()
    opened = torch.nextafter(closed, torch.tensor(-1.0, dtype=torch.float64))
    holds, inside, other_holds, _ = served(
        "ball_counts", x, x.flip(0), torch.cat([closed, opened]), closed.flip(1), by=by
    )
    assert (holds[0] == 4).all() and (holds[1] == 3).all()  # with the row itself
    assert (other_holds == 4).all() and int(inside[0].sum()) == 4 * len(x)


def test_the_definition_of_the_arguments():
    x = torch.tensor([[0.0], [1.0], [3.0]])
    y = torch.tensor([[1.0], [4.0]])
    for by in backends():
        assert served("nearest_distances", x, 2, by=by).tolist() == [[1, 9], [1, 4], [4, 9]]
        limits = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64), torch.empty(0, 2).double()
        found = served("ball_counts", x, y, *limits, by=by)
        assert [part.tolist() for part in found] == [[[1, 1, 1]], [[2, 1]], [], []]


@on_cpu
def test_several_tiles_and_any_number_of_threads(monkeypatch):
    """Tiles of one row and column more than a whole number of them, on and off the diagonal."""
    from ganfast.backends.cpu import neighbours as kernels

    x, y = tight_modes(65, 30).float(), far(50, 30).float() - 1e4
    expected = None
    for tile, panel in ((1024, 8), (64, 8), (13, 8), (13, 2), (5, 1)):
        monkeypatch.setattr(kernels, "_TILE", tile)
        monkeypatch.setattr(kernels, "_PANEL", panel)
        for threads in (1, 2, 3):
            with truth.threads(threads):
                nearest = served("nearest_distances", x, 4)
                counts = served("ball_counts", x, y, nearest.T, torch.full((1, 50), 30.0).double())
            expected = expected or (nearest, *counts)
            for got, first in zip((nearest, *counts), expected, strict=True):
                assert torch.equal(got, first)
    monkeypatch.undo()
    large = randn(3000, 2).float()
    with truth.threads(3):  # more than a grain: really on several
        found = served("nearest_distances", large, 2)
    assert torch.equal(found, served("nearest_distances", large, 2))


@on_cpu
def test_a_set_against_itself_takes_half_of_the_products(monkeypatch):
    from ganfast.backends.cpu import neighbours as kernels

    made, mm = [], torch.mm
    monkeypatch.setattr(kernels, "_TILE", 10)
    monkeypatch.setattr(kernels, "_PANEL", 4)
    monkeypatch.setattr(torch, "mm", lambda a, b, out: (made.append(out.shape), mm(a, b, out=out)))
    x = randn(100, 4)
    served("nearest_distances", x, 2)
    sizes = [n * m for n, m in made]
    assert sum(sizes) == 10 * 11 / 2 * 100 and max(sizes) == 4 * 100


@on_cpu
@pytest.mark.parametrize("error", [2e-2, torch.nan])
def test_products_that_are_off_by_more_than_float32_are_noticed(error, monkeypatch):
    """As by hardware, or a switch of torch's, that multiplies in bfloat16."""

    def wrong(a, b, out):
        out.copy_((a @ b) * (1 + error * torch.rand(len(a), b.shape[1])))

    monkeypatch.setattr(torch, "mm", wrong)
    x = randn(100, 30).float() + 3
    with pytest.raises(RuntimeError, match="product of float32 was not made in float32"):
        served("nearest_distances", x, 3)
    with ganfast.backend("cpu", "reference"):
        module = _dispatch.serve("neighbours", (x,))
        found = _dispatch.call("neighbours", module, "nearest_distances", x, 3)
    assert torch.equal(found, exact.nearest_distances(x, 3))


@on_cpu
@pytest.mark.parametrize("rows", [far, duplicates, tight_modes, all_the_same])
def test_rows_of_half_precision_are_those_of_their_copies_in_single(rows):
    """Read as they are, 2,100 of each row: more than are made wide at a time."""
    x, y = rows(60, 2100).half(), rows(90, 2100)[30:].half()
    nearest = served("nearest_distances", x, 6)
    assert torch.equal(nearest, served("nearest_distances", x.float(), 6))
    limits = nearest[:, [1, 4]].T, nearest[:, 3][None]
    for half, single in zip(
        served("ball_counts", x, y, *limits),
        served("ball_counts", x.float(), y.float(), *limits),
        strict=True,
    ):
        assert torch.equal(half, single)


@on_cpu
def test_no_copy_of_all_rows_is_made(monkeypatch):
    """So that they may be files that memory does not hold."""
    from ganfast.backends.cpu import neighbours as kernels

    monkeypatch.setattr(kernels, "_TILE", 10)
    monkeypatch.setattr(kernels, "_PANEL", 3)
    sizes, copy = [], kernels._Place.copy

    def noting(place, rows, memory):
        sizes.append(len(rows))
        return copy(place, rows, memory)

    monkeypatch.setattr(kernels._Place, "copy", noting)
    x = randn(100, 4).float()
    nearest = served("nearest_distances", x, 2)
    served("ball_counts", x, x + 0.1, nearest.T, nearest.T)
    assert max(sizes) == 30


@on_cpu
def test_autocast_does_not_reach_the_products():
    x = randn(100, 30).float()
    expected = served("nearest_distances", x, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(served("nearest_distances", x, 3), expected)


@on_cpu
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e200])
def test_what_has_no_squares_is_left_to_the_reference(bad):
    from ganfast.backends.cpu import neighbours as kernels

    x = randn(20, 3)
    x[4, 1] = bad
    with pytest.raises(Refusal, match="not finite, or too far apart"):
        kernels.nearest_distances(x, 2)
