"""Streaming moments against the whole array's, however its rows are divided."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch

from ganfast.metrics import Moments, moments
from ganfast.reference import row_buffer

DIMS = (1, 5, 300)


def features(n, dim, mean=0.0):
    return torch.randn(n, dim, dtype=torch.float64) + mean


def divided(x, seed):
    """The rows of x in pieces of random sizes, some empty."""
    draw = random.Random(seed)
    while len(x):
        size = draw.choice((0, 1, 7, 100, 1023, 1500))
        yield x[:size]
        x = x[size:]


def streamed(pieces, dim):
    found = Moments(dim)
    for piece in pieces:
        found.update(piece)
    return found


def close(found, x, tolerance=1e-12):
    # The offset is subtracted first, exactly: then NumPy has an easy task.
    origin = x[0].double()
    y = (x.double() - origin).numpy()
    mean = torch.from_numpy(y.mean(0)) + origin
    covariance = torch.from_numpy(np.atleast_2d(np.cov(y, rowvar=False)))
    scale = covariance.diagonal().sqrt()
    assert found.count == len(x)
    assert ((found.mean - mean).abs() <= tolerance * (scale + mean.abs())).all()
    error = (found.covariance - covariance).abs() / (scale[:, None] * scale)
    assert error.max() <= tolerance
    assert torch.equal(found.covariance, found.covariance.T)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mean, tolerance", [(0.4, 1e-12), (1e7, 1e-8)])
def test_any_split(dim, seed, mean, tolerance):
    x = features(3000, dim, mean)
    close(streamed(divided(x, seed), dim), x, tolerance)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mean, tolerance", [(0.4, 1e-12), (1e7, 1e-8)])
def test_any_order_of_merges(seed, mean, tolerance):
    x = features(4000, 20, mean)
    parts = [streamed([piece], 20) for piece in divided(x, seed)]
    draw = random.Random(seed)
    while len(parts) > 1:
        other = parts.pop(draw.randrange(len(parts)))
        draw.choice(parts).merge(other)
    close(parts[0], x, tolerance)


def test_wider_than_a_panel():
    assert row_buffer.PANEL < 300
    x = features(2500, 300, 3.0)
    close(streamed(x.split(100), 300), x)


def test_merging_leaves_the_other_and_takes_itself():
    x = features(1500, 6)
    found, other = Moments(6), streamed([x], 6)
    before = other.covariance
    found.merge(other)
    found.merge(found)
    assert torch.equal(other.covariance, before)
    close(found, torch.cat([x, x]))


def test_the_mean_of_parts_far_from_each_other():
    x = torch.cat([features(1200, 4, -50.0), features(1300, 4, 80.0)])
    close(streamed(x.split(100), 4), x)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "uint8"])
@pytest.mark.parametrize("as_numpy", [False, True])
def test_dtypes_and_strides(dtype, as_numpy):
    x = (torch.rand(2, 1100, 16) * 200).to(getattr(torch, dtype))
    for view in (x[0], x[:, :, 0].T.contiguous().T.T, x[0, :16].T, x[0, ::3, ::2], x[0, :9]):
        if as_numpy and dtype == "bfloat16":
            continue
        given = view.numpy() if as_numpy else view
        found = Moments(view.shape[1])
        found.update(given)
        found.update(given)
        close(found, torch.cat([view, view]))


def test_read_only_reversed_and_foreign_endian_arrays():
    x = features(1300, 3).numpy()
    fixed = x.copy()
    fixed.flags.writeable = False
    for given in (fixed, x[::-1], x.astype(">f8")):
        found = Moments(3)
        found.update(given)
        close(found, torch.from_numpy(x))


def test_inputs_are_not_modified():
    x = features(2100, 3)
    kept = x.clone()
    streamed([x], 3).covariance  # noqa: B018
    assert torch.equal(x, kept)


def test_reading_changes_nothing_and_the_bits_repeat():
    x = features(2500, 40)
    read, unread = Moments(40), Moments(40)
    for piece in x.split(77):
        read.update(piece)
        read.mean, read.state_dict()  # noqa: B018
        unread.update(piece)
    assert torch.equal(read.covariance, unread.covariance)
    assert torch.equal(read.mean, unread.mean)


@pytest.mark.parametrize("at", [0, 10, 1023, 1500])
def test_a_saved_state_goes_on_with_the_same_bits(at):
    x = features(2500, 7, 1e3)
    whole, first, second = Moments(7), Moments(7), Moments(7)
    whole.update(x)
    first.update(x[:at])
    state = first.state_dict()
    assert all(value.is_contiguous() for value in state.values())
    second.update(x[:3])
    second.load_state_dict(state)
    second.update(x[at:])
    assert second.count == 2500
    assert torch.equal(second.covariance, whole.covariance)
    assert torch.equal(second.mean, whole.mean)


def test_population_covariance_and_reset():
    found = streamed([features(10, 3)], 3)
    torch.testing.assert_close(found.population_covariance, found.covariance * 0.9)
    found.reset()
    assert found.count == 0


def test_inference_mode_and_autograd():
    found = Moments(3)
    with torch.inference_mode():
        found.update(features(1100, 3))
    found.update(features(1100, 3).requires_grad_())
    assert found.count == 2200 and not found.covariance.requires_grad


BAD = [
    (torch.zeros(3), "shape"),
    (torch.zeros(2, 3), "shape"),
    (torch.zeros(1, 2, 4), "shape"),
    (torch.zeros(2, 4, dtype=torch.int64), "int64"),
    (torch.zeros(2, 4, dtype=torch.complex64), "complex64"),
    (np.zeros((2, 4), dtype=np.int32), "int32"),
    ([[1.0] * 4], "list"),
    (torch.zeros(2, 4).to_sparse(), "dense"),
]


@pytest.mark.parametrize("given, match", BAD)
def test_bad_features(given, match):
    with pytest.raises(ValueError, match=f"features.*{match}"):
        Moments(4).update(given)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_not_finite_is_refused_and_nothing_is_taken(value, dtype):
    found = streamed([features(50, 4)], 4)
    before = found.covariance
    x = features(2000, 4).to(dtype)
    x[5, 1] = x[5, 2] = x[1999, 0] = value
    with pytest.raises(ValueError, match="2 of 2000 rows"):
        found.update(x)
    assert found.count == 50 and torch.equal(found.covariance, before)


def test_a_sum_that_overflows_is_no_infinity():
    x = torch.full((100, 2), 3e38)
    assert streamed([x], 2).mean[0] == pytest.approx(3e38, rel=1e-6)


def test_too_few_rows_and_bad_arguments():
    found = Moments(4)
    for name in ("mean", "covariance", "population_covariance"):
        with pytest.raises(ValueError, match=name):
            getattr(found, name)
    found.update(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="covariance: got 1 rows; give at least 2"):
        found.covariance  # noqa: B018
    assert found.population_covariance.abs().max() == 0
    for dim in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="dim"):
            Moments(dim)
    with pytest.raises(ValueError, match="other"):
        found.merge(Moments(5))
    with pytest.raises(ValueError, match="state"):
        found.load_state_dict(Moments(5).state_dict())
    with pytest.raises(ValueError, match="process group"):
        found.all_reduce()


def test_against_torch():
    features = 1e3 + torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    mean, covariance = moments(features)
    assert mean.dtype == covariance.dtype == torch.float64
    torch.testing.assert_close(mean, features.double().mean(0))
    torch.testing.assert_close(covariance, torch.cov(features.double().T))


@pytest.mark.parametrize("shape", [(5,), (1, 5), (0, 5), (2, 3, 4)])
def test_bad_shape(shape):
    with pytest.raises(ValueError, match="features"):
        moments(torch.zeros(shape))


@pytest.mark.parametrize("n", [0, 5, 1500])
def test_a_copy_is_of_its_own(n):
    x = features(n + 10, 7)
    found, whole = streamed([x[:n]], 7), streamed([x[:n], x[n:]], 7)
    copies = [copy.deepcopy(found), pickle.loads(pickle.dumps(found))]
    for other in copies:
        assert other.count == n
        other.update(x[n:])
        assert torch.equal(other.covariance, whole.covariance)
    assert found.count == n
    found.update(x[n:])
    assert torch.equal(found.covariance, whole.covariance)


def test_few_rows_hold_no_matrix():
    """Of twenty chunks of a few hundred images each, matrices would be most of the memory."""
    rows = torch.randn(30, 5, dtype=torch.float64)
    parts = [Moments(5) for _ in range(3)]
    for part, own in zip(parts, rows.split(10), strict=True):
        part.update(own)
    whole = Moments(5)
    for part in parts:
        whole.merge(part)
    again = Moments(5)
    again.load_state_dict(whole.state_dict())
    torch.testing.assert_close(again.covariance, rows.T.cov(), rtol=1e-12, atol=1e-14)
    for each in (*parts, whole, again):
        assert each._scatter._matrix is None
