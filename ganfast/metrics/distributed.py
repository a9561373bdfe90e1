"""The processes of torch.distributed: reductions over them, and which of them this is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ganfast.errors import InputError


def require_group(group: Any = None) -> tuple[int, torch.device]:
    """How many processes ``group`` has, and the device on which they communicate; InputError where
    there is no such group, or this process is not in it."""
    if not dist.is_available() or not dist.is_initialized():
        raise InputError(
            "all_reduce: got no process group; call torch.distributed.init_process_group() first"
        )
    world = dist.get_world_size(group)
    if world < 1:
        raise InputError("group: got one without this process; call all_reduce in its members only")
    if dist.get_backend(group) == "nccl":
        return world, torch.device("cuda", torch.cuda.current_device())
    return world, torch.device("cpu")


PATIENCE = 30.0
"""Seconds of waiting for other processes after which that is said: the group's own time-out is 10
or 30 minutes, and until then nothing tells it from a hang."""


def gather(own: Tensor, group: Any = None, *, waiting: Callable[[], None] | None = None) -> Tensor:
    """(processes, ...): the ``own`` of all, of one shape and dtype, by rank; on its device.
    ``waiting`` is called once where others have not come for PATIENCE seconds."""
    world, device = require_group(group)
    sent = own.to(device).contiguous()
    received = [torch.empty_like(sent) for _ in range(world)]
    work = dist.all_gather(received, sent, group=group, async_op=waiting is not None)
    if waiting is not None and work is not None:
        began = time.monotonic()
        while not work.is_completed() and time.monotonic() - began < PATIENCE:
            time.sleep(0.001)
        if not work.is_completed():
            waiting()
        work.wait()
    return torch.stack(received).to(own.device)


def total(own: Tensor, group: Any = None) -> Tensor:
    """The sum of ``own``, of one shape and dtype in all processes; on its device."""
    _, device = require_group(group)
    summed = own.to(device, copy=True).contiguous()
    dist.all_reduce(summed, group=group)
    return summed.to(own.device)


T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes that share an evaluation, torch.distributed's or just this one, which is number
    ``rank`` of ``count``."""

    rank: int
    count: int

    @classmethod
    def of_this_process(cls) -> Ranks:
        """In the default process group, if there is one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls(0, 1)

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def here(self) -> int:
        """How many of them share this machine, as torchrun tells it; else all of them."""
        told = os.environ.get("LOCAL_WORLD_SIZE", "")
        return max(1, min(self.count, int(told))) if told.isdecimal() else self.count

    def gather(self, mine: T) -> list[T]:
        """What each process gives, in the order of the ranks, in every process."""
        if self.count == 1:
            return [mine]
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, mine)
        return parts

    def from_first(self, mine: T | None) -> T:
        """What the first process gives, in every process; the others' is not looked at."""
        if self.count == 1:
            assert mine is not None
            return mine
        box: list[Any] = [mine]
        dist.broadcast_object_list(box, src=0)
        return box[0]
