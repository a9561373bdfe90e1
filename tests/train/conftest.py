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


@pytest.fixture
def chart():
    """For tests that look at a run's losses.png, which takes longer to draw than a run of few
    steps: the others go without."""


@pytest.fixture(autouse=True)
def no_chart(request, monkeypatch):
    if "chart" not in request.fixturenames:
        monkeypatch.setattr("ganfast.train.pictures.save_log", lambda path, lines, title: None)
