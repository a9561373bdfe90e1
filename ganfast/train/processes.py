"""One run in several processes, as torchrun starts them: each has its part of every batch, and
together they do what one process would do with the whole of it, to round-off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganfast.errors import InputError
from ganfast.train.whole_batch_norm import WholeBatchNorm

T = TypeVar("T")


class Processes:
    """This process among ``count``, number ``rank``; on its own it is the first of one, and nothing
    is exchanged. With ``together`` they are those of torch.distributed's default group."""

    def __init__(self, together: bool = False) -> None:
        together = together and dist.is_available() and dist.is_initialized()
        self.count = dist.get_world_size() if together else 1
        self.rank = dist.get_rank() if together else 0
        # What the host decides goes from host to host: a GPU need not be waited for.
        self._hosts: Any = None
        if self.count > 1 and dist.get_backend() != "gloo":
            self._hosts = dist.new_group(backend="gloo")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def check(self, batch_size: int, identity: str) -> None:
        """Raise InputError where the batch can't be divided, or not all have the same data."""
        if batch_size % self.count:
            raise InputError(
                f"batch_size: got {batch_size} in {self.count} processes, which share it evenly; "
                f"give a multiple of {self.count}"
            )
        theirs = self.from_first(lambda: identity)
        if theirs != identity:
            raise InputError(
                f"data: process {self.rank} has {identity}, and the first one {theirs}; give all "
                "processes the same"
            )

    def part(self, batch: Tensor) -> Tensor:
        """The rows of a whole batch that are this process's. All processes draw all rows, from one
        stream, so that a sample depends on its place in the batch and not on who has it."""
        return batch if self.count == 1 else batch.chunk(self.count)[self.rank]

    def whole(self, scores: Tensor) -> Tensor:
        """The scores of the whole batch, of which this process's have a graph. A loss of them all
        is the loss, and its gradients here are a part of the loss's gradients."""
        if self.count == 1:
            return scores
        parts = [torch.empty_like(scores) for _ in range(self.count)]
        dist.all_gather(parts, scores.detach().contiguous())
        parts[self.rank] = scores
        return torch.cat(parts)

    @torch.no_grad()
    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each by its sum over the processes, in one exchange."""
        tensors = list(tensors)
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        sums = flat.split([t.numel() for t in tensors])
        torch._foreach_copy_(tensors, [s.view_as(t) for s, t in zip(sums, tensors, strict=True)])

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        if self.count == 1:
            return flag
        raised = torch.tensor(float(flag))
        dist.all_reduce(raised, group=self._hosts)
        return bool(raised)

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` returns in the first process, in all of them."""
        if self.count == 1:
            return make()
        box = [make() if self.first else None]
        dist.broadcast_object_list(box, group=self._hosts)
        return box[0]  # type: ignore[return-value]

    def join(self, *modules: nn.Module) -> None:
        """Give all processes the first one's weights, and batch norm the whole batch's statistics,
        in place."""
        if self.count == 1:
            return
        for module in modules:
            for tensor in [*module.parameters(), *module.buffers()]:
                sent = tensor.detach().contiguous()  # a copy, if its layout is another
                dist.broadcast(sent, src=0)
                tensor.detach().copy_(sent)
            for parent in list(module.modules()):
                for name, child in parent.named_children():
                    if isinstance(child, _BatchNorm):
                        setattr(parent, name, WholeBatchNorm(child, self.count))
