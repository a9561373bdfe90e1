"""Every test draws the same numbers, whatever ran before it."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
