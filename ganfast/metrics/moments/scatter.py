"""Mean and scatter matrix of rows: what two parts of a data set need to become one.

The scatter matrix is the sum of (x - mean)(x - mean)^T. Both parts of a merge are centred on their
own mean before anything is squared (Chan, Golub and LeVeque 1979), so no digit is lost to a mean
that is large beside the deviation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganfast.metrics.moments.running_mean import RunningMean
from ganfast.reference.row_buffer import RowBuffer, add_squares, column_panels


class Scatter:
    """Of the rows absorbed so far."""

    def __init__(self, mean: RunningMean, matrix: Tensor | None = None) -> None:
        """Of nothing, or of a mean's rows and their ``matrix``, which is copied."""
        self.mean = mean
        # The lower triangle; what is above it means nothing.
        self._matrix = torch.empty(self.dim, self.dim, dtype=torch.float64, device=self.device)
        if matrix is None:
            self._matrix.zero_()
        else:
            self._matrix.copy_(matrix)

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

    def absorb(self, waiting: RowBuffer) -> None:
        """Take in all rows that wait, of which there is at least one; none waits any more."""
        mean = RunningMean(waiting.count, *waiting.centre())
        waiting.square(self._matrix, self._move(mean))

    def merge(self, other: Scatter) -> None:
        """Take in the rows that ``other``, on the same device, has absorbed."""
        if other.mean.count:
            self._matrix += other._matrix
            add_squares(self._matrix, self._move(other.mean)[None])

    def whole(self, divisor: float = 1.0) -> Tensor:
        """The matrix over ``divisor``: both triangles, exactly symmetric, contiguous."""
        out = torch.empty(self.dim, self.dim, dtype=torch.float64, device=self.device)
        for a, b in column_panels(self.dim):
            torch.div(self._matrix[a:b, :b], divisor, out=out[a:b, :b])
            out[:a, a:b] = out[a:b, :a].T
            corner = out[a:b, a:b]
            corner.copy_(corner.tril() + corner.tril(-1).T)
        return out

    def whole_about(self, mean: RunningMean) -> Tensor:
        """The whole matrix about another mean."""
        about = self.copy(self.device)
        add_squares(about._matrix, math.sqrt(self.mean.count) * mean.minus(self.mean)[None])
        return about.whole()

    def _move(self, other: RunningMean) -> Tensor:
        """Let the mean be that of the rows of ``other`` too; the row whose square the matrix gains
        by that."""
        weight = math.sqrt(self.mean.count * other.count / (self.mean.count + other.count))
        row = weight * other.minus(self.mean)
        self.mean = self.mean.with_also(other)
        return row
