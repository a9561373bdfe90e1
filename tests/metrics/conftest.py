"""The network with random weights, and the threads it is tried with."""

from __future__ import annotations

import pytest

from ganfast.metrics.inception.network import InceptionNetwork, build_network
from testing.inception_weights import random_state_dict


@pytest.fixture(scope="module")
def network() -> InceptionNetwork:
    return build_network(random_state_dict(0))
