import pytest
import torch

from ganfast.metrics import moments


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
