"""The kernel distance against its definition, and unbiased."""

import math

import numpy as np
import pytest
import torch

from ganfast.metrics.distances.kid import kernel_inception_distance, squared_discrepancy


def by_definition(x, y):
    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    x, y = x.tolist(), y.tolist()
    among = [
        sum(kernel(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j)
        / (len(s) * (len(s) - 1))
        for s in (x, y)
    ]
    between = sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    return sum(among) - 2 * between


@pytest.mark.parametrize("n, m, d", [(2, 2, 1), (7, 5, 3), (12, 30, 8)])
def test_the_definition(n, m, d):
    x, y = torch.randn(n, d), torch.randn(m, d) + 0.5
    assert squared_discrepancy(x, y) == pytest.approx(by_definition(x, y), rel=1e-12, abs=1e-14)


def test_whole_sides_are_one_subset():
    x, y = torch.randn(20, 4), torch.randn(20, 4) + 1
    mean, deviation = kernel_inception_distance(x, y)
    assert mean == pytest.approx(by_definition(x, y), rel=1e-12)
    assert math.isnan(deviation)  # of one value nothing is known


def test_subsets_are_seeded_and_drawn_from_both_sides():
    x, y = torch.randn(200, 4), torch.randn(60, 4) + 1
    kwargs = {"subsets": 20, "subset_size": 30}
    found = kernel_inception_distance(x, y, seed=1, **kwargs)
    assert found == kernel_inception_distance(x, y, seed=1, **kwargs)
    assert found != kernel_inception_distance(x, y, seed=2, **kwargs)
    assert found[1] > 0
    # The mean over subsets estimates the value of all rows; 20 subsets, three deviations.
    assert abs(found[0] - squared_discrepancy(x, y)) < 3 * found[1] / 20**0.5
    # As many rows as the smaller side has: only the draw of the larger one varies.
    assert kernel_inception_distance(x, y, subsets=5)[1] > 0


def test_one_subset_is_the_value_of_its_rows():
    x, y = torch.randn(50, 4), torch.randn(40, 4)
    mean, deviation = kernel_inception_distance(x, y, subsets=1, subset_size=10, seed=5)
    generator = torch.Generator().manual_seed(5)
    a, b = (torch.randperm(n, generator=generator)[:10] for n in (50, 40))
    assert mean == pytest.approx(by_definition(x[a], y[b]), rel=1e-11, abs=1e-14)
    assert math.isnan(deviation)  # of one value nothing is known


def test_numpy():
    x, y = torch.randn(50, 4), torch.randn(40, 4)
    arrays = np.asfortranarray(x.numpy()), y.numpy().astype(">f4")[::-1]
    given = {"subsets": 3, "subset_size": 10}
    expected = kernel_inception_distance(x, y.flip(0), **given)
    assert kernel_inception_distance(*arrays, **given) == expected


def test_unbiased():
    """E = 0 for one distribution; for N(0, I) against N(s, I) in one dimension moments give it."""
    values = torch.tensor(
        [squared_discrepancy(torch.randn(5, 3), torch.randn(5, 3)) for _ in range(4000)]
    )
    assert abs(values.mean()) < 4 * values.std() / 4000**0.5
    assert (values < 0).any()
    # d = 1: E (ab + 1)^3 = 1 + 3 E a E b + 3 E a^2 E b^2 + E a^3 E b^3 for independent a and b.
    # N(1, 1) has the moments 1, 2, 4; N(0, 1) has 0, 1, 0.
    expected = (1 + 3 + 12 + 16) + (1 + 3) - 2 * (1 + 3 * 2)
    values = torch.tensor(
        [squared_discrepancy(torch.randn(4, 1) + 1, torch.randn(4, 1)) for _ in range(8000)]
    )
    assert abs(values.mean() - expected) < 4 * values.std() / 8000**0.5


def test_precision_does_not_depend_on_the_dtype_of_features():
    x, y = torch.randn(30, 6).half(), torch.randn(30, 6).half()
    assert squared_discrepancy(x, y) == squared_discrepancy(x.double(), y.double())


@pytest.mark.parametrize(
    "x, y, kwargs, match",
    [
        (torch.zeros(1, 3), torch.zeros(5, 3), {}, "x: got shape"),
        (torch.zeros(5, 3), torch.zeros(5), {}, "y: got shape"),
        (torch.zeros(5, 3), torch.zeros(5, 4), {}, "y: got 4 features, where x has 3"),
        (torch.zeros(5, 3), torch.full((5, 3), torch.nan), {}, "y: got NaN or inf"),
        (
            torch.zeros(5, 3).int(),
            torch.zeros(5, 3),
            {},
            "x: got torch.int32; give a torch tensor or NumPy array of floats",
        ),
        ([[0.0]], torch.zeros(5, 3), {}, "got list"),
        (torch.zeros(5, 3), torch.zeros(5, 3), {"subsets": 0}, "subsets"),
        (torch.zeros(5, 3), torch.zeros(5, 3), {"subset_size": 1}, "subset_size"),
        (torch.zeros(5, 3), torch.zeros(5, 3), {"subsets": True}, "subsets"),
    ],
)
def test_bad_input(x, y, kwargs, match):
    with pytest.raises(ValueError, match=match):
        kernel_inception_distance(x, y, **kwargs)
