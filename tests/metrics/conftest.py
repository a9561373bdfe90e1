"""The network with random weights, and the threads it is tried with."""

from __future__ import annotations

import pytest
from inception_weights import random_state_dict

from ganfast.metrics.inception.network import InceptionNetwork, build_network


@pytest.fixture(scope="module")
def network() -> InceptionNetwork:
    return build_network(random_state_dict(0))
