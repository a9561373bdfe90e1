"""Every test draws the same numbers, whatever ran before it."""

import pytest
import torch
import truth


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread():
    """For small work: a second thread would gain little, and on a busy machine mostly wait."""
    with truth.threads(1):
        yield
