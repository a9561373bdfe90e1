"""The kernel distance of the same subset, by torchmetrics."""

import warnings

import pytest
import torch
from torchvision_stub import import_torchvision

from ganfast.metrics.kid import squared_discrepancy


@pytest.fixture
def theirs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_torchvision()
            from torchmetrics.image.kid import poly_mmd
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"torchmetrics cannot be imported here: {error}")
    return poly_mmd


@pytest.mark.parametrize("n, d", [(10, 3), (100, 64)])
def test_the_same_subset(theirs, n, d):
    x, y = torch.relu(torch.randn(2, n, d, dtype=torch.float64))
    assert squared_discrepancy(x, y + 0.3) == pytest.approx(float(theirs(x, y + 0.3)), rel=1e-10)
