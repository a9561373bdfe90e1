"""The network with random weights, and the threads it is tried with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ganfast.metrics.inception.network import InceptionNetwork, build_network
from testing.inception_weights import random_state_dict


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On a busy machine a second thread would mostly wait for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> InceptionNetwork:
    return build_network(random_state_dict(0))
