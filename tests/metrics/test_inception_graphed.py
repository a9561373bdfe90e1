"""When the Inception network is captured, and when it is not; capturing itself is tests/gpu's."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from ganfast.errors import InputError
from ganfast.metrics.extractors import load_extractor
from ganfast.metrics.inception import graphed
from ganfast.metrics.inception.graphed import MOST, GraphedNetwork
from testing.inception_weights import save_random_weights


def network(images):
    return images.sum(1), images.mean(1)


class Graph:
    """Runs the network into the same memory each time, as a graph does."""

    made: list[int] = []

    def __init__(self, network, images, warm_up):
        self.network, self.out = network, network(images)
        self.replays = 0
        Graph.made.append(len(images))

    def __call__(self, images):
        self.replays += 1
        for mine, new in zip(self.out, self.network(images), strict=True):
            mine.copy_(new)
        return self.out


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    Graph.made = []
    monkeypatch.setattr(graphed, "capture", Graph)
    stream = type("Stream", (), {"cuda_stream": 0})()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    with torch.inference_mode():
        yield stream


def batches(*sizes):
    return [torch.randn(n, 3, generator=torch.Generator().manual_seed(n + i))
            for i, n in enumerate(sizes)]  # fmt: skip


def test_a_shape_that_comes_again_is_captured_and_the_last_batch_is_not():
    fast = GraphedNetwork(network)
    given = batches(4, 4, 4, 4, 3)
    found = [fast(x) for x in given]
    assert Graph.made == [4]
    for x, (sums, means) in zip(given, found, strict=True):  # none overwritten by the next
        assert torch.equal(sums, x.sum(1)) and torch.equal(means, x.mean(1))


def test_another_stream_or_layout_is_another_graph(cuda):
    fast = GraphedNetwork(network)
    x = torch.randn(2, 3)
    for _ in range(3):
        fast(x)
    cuda.cuda_stream = 7
    for _ in range(3):
        fast(x)
    assert Graph.made == [2, 2]
    for _ in range(3):
        fast(torch.randn(3, 2).T)
    assert len(Graph.made) == 2 == MOST, "no more graphs than that are kept"


@pytest.mark.parametrize("error", [InputError("cannot"), RuntimeError("CUDA out of memory")])
def test_what_cannot_be_captured_runs_as_it_is(error, monkeypatch):
    tried = []

    def capture(*_, **__):
        tried.append(1)
        raise error

    monkeypatch.setattr(graphed, "capture", capture)
    fast = GraphedNetwork(network)
    for x in batches(4, 4, 4, 4):
        assert torch.equal(fast(x)[0], x.sum(1))
    assert len(tried) == 1 and fast.impossible == str(error)


def test_not_in_another_graph_and_not_with_gradients(monkeypatch):
    fast = GraphedNetwork(network)
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        for x in batches(2, 2, 2):
            fast(x)
    with torch.inference_mode(False):
        for x in batches(2, 2, 2):
            fast(x)
    assert Graph.made == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_captures_its_own(copied):
    fast = GraphedNetwork(network)
    for x in batches(2, 2):
        fast(x)
    other = copied(fast)
    x = torch.randn(2, 3)
    assert torch.equal(other(x)[0], x.sum(1)) and Graph.made == [2]


def test_a_network_on_the_cpu_has_no_graphs(tmp_path):
    save_random_weights(tmp_path / "weights.pth")
    extractor = load_extractor(weights=tmp_path / "weights.pth", dims=64)
    assert not isinstance(extractor.network, GraphedNetwork)
