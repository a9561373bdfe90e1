"""Batch norm over the batch of all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.modules.batchnorm import _BatchNorm

from ganfast.errors import InputError


class WholeBatchNorm(nn.Module):
    """``norm`` with the statistics of all processes' batches, which are equally large. Its weights
    and statistics are its own, by the same names."""

    def __init__(self, norm: _BatchNorm, count: int) -> None:
        super().__init__()
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self._norm, self._count = [norm], count  # in a list: no part of the state

    def forward(self, x: Tensor) -> Tensor:
        if not is_compiling():
            return self._exchanged(x)
        # The exchange is no part of a graph. A decorator would import torch's compiler, which takes
        # as long as torch itself, into every process that trains.
        apart: Tensor = torch.compiler.disable(self._exchanged)(x)
        return apart

    def _exchanged(self, x: Tensor) -> Tensor:
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


def _summed(gradient: Tensor) -> Tensor:
    if gradient.requires_grad:
        raise InputError(
            "critic: batch norm and a gradient penalty don't go together in several processes; "
            "give another norm"
        )
    total = gradient.detach().clone()
    dist.all_reduce(total)
    return total
