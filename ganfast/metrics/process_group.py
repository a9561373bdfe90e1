"""What every reduction over the processes of torch.distributed asks first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast.errors import InputError


def require_group(group: Any = None) -> tuple[int, torch.device]:
    """How many processes ``group`` has, and the device on which they communicate.

    Raises InputError where there is no such group, or this process is not in it.
    """
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        raise InputError(
            "all_reduce needs a process group: call torch.distributed.init_process_group() first"
        )
    world = dist.get_world_size(group)
    if world < 1:
        raise InputError("group must have this process in it: call all_reduce in its members only")
    if dist.get_backend(group) == "nccl":
        return world, torch.device("cuda", torch.cuda.current_device())
    return world, torch.device("cpu")


def gather(own: Tensor, group: Any = None) -> Tensor:
    """(processes, ...): the ``own`` of all, of one shape and dtype, by rank; on its device."""
    import torch.distributed as dist

    world, device = require_group(group)
    sent = own.to(device).contiguous()
    received = [torch.empty_like(sent) for _ in range(world)]
    dist.all_gather(received, sent, group=group)
    return torch.stack(received).to(own.device)


def total(own: Tensor, group: Any = None) -> Tensor:
    """The sum of ``own``, of one shape and dtype in all processes; on its device."""
    import torch.distributed as dist

    _, device = require_group(group)
    summed = own.to(device, copy=True).contiguous()
    dist.all_reduce(summed, group=group)
    return summed.to(own.device)
