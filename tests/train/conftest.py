import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def these_networks_are_tiny(one_thread):
    pass


@pytest.fixture(autouse=True)
def threads_as_they_were():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
