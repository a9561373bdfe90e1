"""One tensor per thread, instead of all threads on one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


def in_threads(function: Callable[[Tensor], Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """``function`` of each tensor, in order, without gradients, on as many threads as PyTorch has.

    Each thread takes the next tensor and works on it alone, so that no thread waits for another at
    the end of every operation. The threads are gone when it returns: a process may fork afterwards.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(tensors))
    if workers <= 1:
        with torch.inference_mode():
            return [function(tensor) for tensor in tensors]

    def call(tensor: Tensor) -> Tensor:
        with torch.inference_mode():  # which holds in one thread only
            return function(tensor)

    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(call, tensors))
    finally:
        torch.set_num_threads(threads)  # MKL has one number for all threads
