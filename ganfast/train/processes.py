"""One run in several processes, as torchrun starts them: each has its part of every batch, and
together they do what one process would do with the whole of it, to round-off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganfast.errors import InputError

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
                        setattr(parent, name, _WholeBatchNorm(child, self.count))


class _WholeBatchNorm(nn.Module):
    """``norm`` with the statistics of all processes' batches, which are equally large. Its weights
    and statistics are its own, by the same names."""

    def __init__(self, norm: _BatchNorm, count: int) -> None:
        _keep_out_of_graphs()
        super().__init__()
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self._norm, self._count = [norm], count  # in a list: no part of the state

    def forward(self, x: Tensor) -> Tensor:
        norm: Any = self._norm[0]
        if not self.training:
            result: Tensor = norm.eval()(x)
            return result
        over = [d for d in range(x.dim()) if d != 1]
        var, mean = torch.var_mean(x, over, correction=0)
        means, variances = self._gathered(torch.stack((mean, var))).unbind(1)
        mean = means.mean(0)
        var = (variances + (means - mean).square()).mean(0)
        self._remember(norm, mean.detach(), var.detach(), x.numel() // len(mean) * self._count)
        shape = [-1 if d == 1 else 1 for d in range(x.dim())]
        y = (x - mean.view(shape)) * torch.rsqrt(var + norm.eps).view(shape)
        return y * norm.weight.view(shape) + norm.bias.view(shape) if norm.affine else y

    def _gathered(self, mine: Tensor) -> Tensor:
        """(count, *shape): every process's ``mine``. Each process has a part of the gradient of
        them all, and these are summed on the way back."""
        places = [torch.zeros_like(mine) for _ in range(self._count)]
        places[dist.get_rank()] = mine
        own = torch.stack(places)
        everyones = own.detach().clone()
        dist.all_reduce(everyones)
        if own.requires_grad:
            own.register_hook(_summed)
        return own + (everyones - own.detach())

    def _remember(self, norm: Any, mean: Tensor, var: Tensor, n: int) -> None:
        if norm.running_mean is None:
            return
        norm.num_batches_tracked.add_(1)
        rate = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, rate)
        norm.running_var.lerp_(var * (n / (n - 1)), rate)


@cache
def _keep_out_of_graphs() -> None:
    """The exchange is no part of a graph. No decorator: it would import the compiler, a second of
    work, into every process that trains."""
    _WholeBatchNorm.forward = torch.compiler.disable(  # type: ignore[method-assign]
        _WholeBatchNorm.forward
    )


def _summed(gradient: Tensor) -> Tensor:
    if gradient.requires_grad:
        raise InputError(
            "critic: batch norm and a gradient penalty don't go together in several processes; "
            "give another norm"
        )
    total = gradient.detach().clone()
    dist.all_reduce(total)
    return total
