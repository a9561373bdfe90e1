"""Mean and scatter matrix of rows: what two parts of a data set need to become one.

The scatter matrix is the sum of (x - mean)(x - mean)^T. Both parts of a merge are centred on their
own mean before anything is squared (Chan, Golub and LeVeque 1979), so no digit is lost to a mean
that is large beside the deviation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.distributed import gather, require_group, total
from ganfast.reference.row_buffer import RowBuffer, add_squares, column_panels


class Scatter:
    """Of the rows absorbed so far."""

    def __init__(self, mean: RunningMean, matrix: Tensor | None = None) -> None:
        """Of nothing, or of a mean's rows and their ``matrix``, which is copied."""
        self.mean = mean
        # The lower triangle; what is above it means nothing. None: nothing but zeros, which where
        # few rows come to each of many need no memory.
        self._matrix: Tensor | None = None
        if matrix is not None:
            self._filled().copy_(matrix)

    @classmethod
    def of_none(cls, dim: int, device: torch.device) -> Scatter:
        return cls(RunningMean.of_none(dim, device))

    @property
    def dim(self) -> int:
        return len(self.mean.high)

    @property
    def device(self) -> torch.device:
        return self.mean.high.device

    def copy(self, device: torch.device) -> Scatter:
        """One that can change without this one changing."""
        return Scatter(self.mean.to(device), self._matrix)

    def absorb(self, buffer: RowBuffer) -> None:
        """Take in all rows of ``buffer``, of which there is at least one; it is empty then."""
        mean = RunningMean(buffer.count, *buffer.centre())
        buffer.square(self._filled(), self._move(mean))

    def merge(self, other: Scatter) -> None:
        """Take in the rows that ``other``, on the same device, has absorbed."""
        if other._matrix is not None and other.mean.count:
            self._filled().add_(other._matrix)
            add_squares(self._filled(), self._move(other.mean)[None])

    def whole(self, divisor: float = 1.0) -> Tensor:
        """The matrix over ``divisor``: both triangles, exactly symmetric, contiguous."""
        out = self._square()
        if self._matrix is None:
            return out.zero_()
        for a, b in column_panels(self.dim):
            torch.div(self._matrix[a:b, :b], divisor, out=out[a:b, :b])
            out[:a, a:b] = out[a:b, :a].T
            corner = out[a:b, a:b]
            corner.copy_(corner.tril() + corner.tril(-1).T)
        return out

    def whole_about(self, mean: RunningMean) -> Tensor:
        """The whole matrix about another mean."""
        about = self.copy(self.device)
        add_squares(about._filled(), math.sqrt(self.mean.count) * mean.minus(self.mean)[None])
        return about.whole()

    def _square(self) -> Tensor:
        return torch.empty(self.dim, self.dim, dtype=torch.float64, device=self.device)

    def _filled(self) -> Tensor:
        """The matrix, made if there was none."""
        if self._matrix is None:
            self._matrix = self._square().zero_()
        return self._matrix

    def _move(self, other: RunningMean) -> Tensor:
        """Let the mean be that of the rows of ``other`` too; the row whose square the matrix gains
        by that."""
        weight = math.sqrt(self.mean.count * other.count / (self.mean.count + other.count))
        row = weight * other.minus(self.mean)
        self.mean = self.mean.with_also(other)
        return row


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
        raise InputError(f"dim: got {dims} by rank; give the same in all processes")

    pairs = gather(torch.stack([own.mean.high, own.mean.low]), group)
    mean = RunningMean.of_none(own.dim, device)
    for count, (high, low) in zip(counts, pairs, strict=True):  # by rank, so alike in all of them
        mean = mean.with_also(RunningMean(count, high, low))
    return Scatter(mean, total(own.whole_about(mean), group))
