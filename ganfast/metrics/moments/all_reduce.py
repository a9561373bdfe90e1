"""The sum of what the processes of torch.distributed hold."""

from __future__ import annotations

from typing import Any

import torch

from ganfast.errors import InputError
from ganfast.metrics.moments.running_mean import RunningMean
from ganfast.metrics.moments.scatter import Scatter
from ganfast.metrics.process_group import gather, require_group, total


def all_reduce(own: Scatter, group: Any = None) -> Scatter:
    """The rows of all processes in ``group``, the same in each of them.

    First the means are gathered (a few kilobytes); then each process moves its matrix to the common
    mean, and what is left is a plain sum: one dim x dim all-reduce, and no error from cancellation.
    """
    _, device = require_group(group)
    own = own.copy(device)

    # Before any tensor whose size they must agree on.
    dims, counts = gather(torch.tensor([own.dim, own.mean.count]), group).T.tolist()
    if len(set(dims)) > 1:
        raise InputError(f"dim must be the same in all processes, got {dims} by rank")

    pairs = gather(torch.stack([own.mean.high, own.mean.low]), group)
    mean = RunningMean.of_none(own.dim, device)
    for count, (high, low) in zip(counts, pairs, strict=True):  # by rank, so alike in all of them
        mean = mean.with_also(RunningMean(count, high, low))
    return Scatter(mean, total(own.whole_about(mean), group))
