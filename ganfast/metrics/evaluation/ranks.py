"""The processes that share an evaluation: torch.distributed's, or just this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process is number ``rank`` of ``count``."""

    rank: int
    count: int

    @classmethod
    def here(cls) -> Ranks:
        """Of the default process group, if there is one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls(0, 1)

    @property
    def first(self) -> bool:
        return self.rank == 0

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
