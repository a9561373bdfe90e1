"""The mean of rows that come in parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RunningMean:
    """``count`` rows have the mean ``high`` + ``low``.

    It is a pair because rounding a mean of 1e7 deviations to one float64 would cost 1e-9 deviations
    in each of thousands of merges.
    """

    count: int
    high: Tensor
    low: Tensor

    @classmethod
    def of_none(cls, dim: int, device: torch.device) -> RunningMean:
        zeros = torch.zeros(dim, dtype=torch.float64, device=device)
        return cls(0, zeros, zeros)

    def to(self, device: torch.device) -> RunningMean:
        return RunningMean(self.count, self.high.to(device), self.low.to(device))

    def value(self) -> Tensor:
        return self.high + self.low

    def minus(self, other: RunningMean) -> Tensor:
        """As exact as the pairs are: where the means are close, leading digits cancel exactly."""
        return (self.high - other.high) + (self.low - other.low)

    def with_also(self, other: RunningMean) -> RunningMean:
        """The mean of the rows of both."""
        if not (self.count and other.count):
            return other if other.count else self
        total = self.count + other.count
        step = self.low + other.minus(self) * (other.count / total)
        high = self.high + step
        taken = high - self.high
        low = (self.high - (high - taken)) + (step - taken)  # Knuth's exact sum
        return RunningMean(total, high, low)
