"""What an evaluation asks of the machine, where nobody says."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from ganfast.metrics.choices import BATCH_SIZE


def batch_size(asked: int | None, device: torch.device | None) -> int:
    """Images that go through the network on ``device`` at once."""
    return asked or BATCH_SIZE.get("cpu" if device is None else device.type, BATCH_SIZE["cpu"])


def decoding_processes(asked: int | None, device: torch.device, processes: int) -> int:
    """As many as asked for, or as suit a network on ``device``. A GPU waits for the decoders, which
    get all cores but one in eight, for what feeds it. On a CPU the network takes all cores and
    waits for nobody: one process decodes the next batch meanwhile."""
    if asked is not None:
        return asked
    if device.type == "cpu":
        return 1
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    share = cores // processes
    return max(1, share - max(1, share // 8))


def there_if_room(rows: Tensor, device: torch.device) -> Tensor:
    """On the GPU that is meant, if two sides of so many rows, and copies, have room there."""
    if device.type != "cuda" or 16 * rows.numel() > torch.cuda.mem_get_info(device)[0]:
        return rows
    return rows.to(device)
