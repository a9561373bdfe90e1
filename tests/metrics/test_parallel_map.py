"""One tensor per thread: in order, without gradients, and everything as it was afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from ganfast.metrics.inception.fast import parallel_map


@pytest.fixture(params=[1, 2, 4])
def threads(request) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_in_order_and_without_gradients(threads):
    weight = torch.ones(3, requires_grad=True)
    tensors = [torch.full((3,), float(i)) for i in range(9)]
    found = parallel_map(lambda x: x * weight, tensors)
    assert [float(x[0]) for x in found] == list(range(9))
    assert not any(x.requires_grad for x in found)


def test_every_thread_works_alone(threads):
    """All at once, which the barrier proves, each on one thread, and gone at the end."""
    running = threading.active_count()
    barrier = threading.Barrier(threads, timeout=600)
    seen = []

    def look(x):
        barrier.wait()
        seen.append(torch.get_num_threads())
        return x

    parallel_map(look, [torch.zeros(1)] * threads)
    assert seen == [1] * threads
    assert torch.get_num_threads() == threads
    assert threading.active_count() == running
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [threads]  # for threads that are started later, too


def test_what_goes_wrong_is_raised(threads):
    def fail(x):
        raise RuntimeError(f"on {int(x)}")

    with pytest.raises(RuntimeError, match="on 0"):
        parallel_map(fail, [torch.tensor(i) for i in range(4)])
    assert torch.get_num_threads() == threads


def test_nothing_to_do(threads):
    assert parallel_map(torch.clone, []) == []
