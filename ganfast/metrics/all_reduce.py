"""The sum of what the processes of torch.distributed hold."""

from __future__ import annotations

from typing import Any

import torch

from ganfast.errors import InputError
from ganfast.metrics.running_mean import RunningMean
from ganfast.metrics.scatter import Scatter


def all_reduce(own: Scatter, group: Any = None) -> Scatter:
    """The rows of all processes in ``group``, the same in each of them.

    First the means are gathered (a few kilobytes); then each process moves its matrix to the common
    mean, and what is left is a plain sum: one dim x dim all-reduce, and no error from cancellation.
    """
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        raise InputError(
            "all_reduce needs a process group: call torch.distributed.init_process_group() first"
        )
    world = dist.get_world_size(group)
    if world < 1:
        raise InputError("group must have this process in it: call all_reduce in its members only")
    device = torch.device("cpu")
    if dist.get_backend(group) == "nccl":
        device = torch.device("cuda", torch.cuda.current_device())
    own = own.copy(device)

    # Before any tensor whose size they must agree on.
    sizes = [torch.empty(2, dtype=torch.int64, device=device) for _ in range(world)]
    dist.all_gather(sizes, torch.tensor([own.dim, own.mean.count], device=device), group=group)
    dims, counts = torch.stack(sizes).T.tolist()
    if len(set(dims)) > 1:
        raise InputError(f"dim must be the same in all processes, got {dims} by rank")

    pair = torch.stack([own.mean.high, own.mean.low])
    pairs = [torch.empty_like(pair) for _ in range(world)]
    dist.all_gather(pairs, pair, group=group)
    mean = RunningMean.of_none(own.dim, device)
    for count, (high, low) in zip(counts, pairs, strict=True):  # by rank, so alike in all of them
        mean = mean.with_also(RunningMean(count, high, low))

    matrix = own.whole_about(mean)
    dist.all_reduce(matrix, group=group)
    return Scatter(mean, matrix)
