import pytest
import torch

from ganfast.train.environment import cpu_threads


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are tiny: on a busy machine a second thread would only wait for the first."""
    with cpu_threads(1):
        yield


@pytest.fixture(autouse=True)
def threads_as_they_were():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
