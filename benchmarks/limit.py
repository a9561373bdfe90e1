"""What the machine allows: the rate of its copies and products, measured among the contenders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Yardstick(NamedTuple):
    """A step of torch's own whose cost is known."""

    step: Callable[[], Any]
    amount: float
    """Bytes that it moves, or floating point operations."""

    def limit(self, cost: float, seconds: float) -> float:
        """The time for ``cost`` at the rate of a step that took ``seconds``."""
        return cost * seconds / self.amount


def copying(nbytes: int) -> Yardstick:
    """A copy that reads and writes ``nbytes`` together, into memory that is mapped already."""
    source = torch.zeros(max(1, nbytes // 8))
    target = torch.ones_like(source)
    return Yardstick(lambda: target.copy_(source), 2 * source.nbytes)


def multiplying(n: int, dtype: torch.dtype) -> Yardstick:
    """The product of two n x n matrices: 2 n^3 flops, the rate that linear algebra lives on."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, n, dtype=dtype, generator=generator) for _ in range(2))
    out = torch.empty_like(a)
    return Yardstick(lambda: torch.mm(a, b, out=out), 2.0 * n**3)
