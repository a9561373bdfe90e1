"""The host's stand-in for a GPU does what CUDA does, and sees what a kernel does wrong."""

from __future__ import annotations

from pathlib import Path

import cuda_host
import numpy as np
import pytest
import torch

PROBE = Path(__file__).with_name("host_probe.cu")


@pytest.fixture(scope="module")
def probe():
    return cuda_host.build(PROBE.read_text())


@pytest.fixture(params=[0, 1, 7])
def order(request, monkeypatch):
    monkeypatch.setattr(cuda_host, "order", request.param)


def numbers(n):
    return torch.arange(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)


def test_shared_memory_and_barriers(probe, order):
    x, y = numbers(1000)
    cuda_host.launch(probe, "reverse_block", 1, 96, x, y, np.int32(1000), shared=8000)
    assert torch.equal(y, x.flip(0))


def test_warps(probe, order):
    x, sums = numbers(1000)[0], torch.zeros(6, dtype=torch.float64)
    votes = torch.zeros(1, dtype=torch.int32)
    cuda_host.launch(probe, "warp_words", 3, 64, x, sums, votes, np.int32(1000))
    assert sums[:3].sum() == x.sum() and sums[3:].tolist() == [1, 1, 1]
    assert votes.item() == 3 * (32 + 1000)


def test_a_forgotten_barrier_shows(probe, monkeypatch):
    results = []
    for order in (0, 1):
        monkeypatch.setattr(cuda_host, "order", order)
        x, y = numbers(64)
        cuda_host.launch(probe, "race", 1, 64, x, y, np.int32(64), shared=512)
        results.append(y)
    assert not torch.equal(*results)


def test_what_a_driver_would_not_say(probe):
    x, y = numbers(64)
    with pytest.raises(AssertionError, match="deadlock"):
        cuda_host.launch(probe, "half_a_barrier", 1, 64, y)
    with pytest.raises(AssertionError, match="overrun"):
        cuda_host.launch(probe, "reverse_block", 1, 64, x, y, np.int32(64), shared=504)
    with pytest.raises(AssertionError, match="argument 2's width"):
        cuda_host.launch(probe, "reverse_block", 1, 64, x, y, np.int64(64), shared=512)
    with pytest.raises(AssertionError, match="not 2 arguments"):
        cuda_host.launch(probe, "reverse_block", 1, 64, x, y, shared=512)
