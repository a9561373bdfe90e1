"""Rows that wait until there are enough of them for one product."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

PANEL = 256
"""Columns of the matrix that one product makes.

The matrix is symmetric, so only its lower triangle is computed: (1 + 256/n)/2 of the full product's
operations, panel by panel. BLAS has syrk for exactly half, which torch does not offer.
"""


def column_panels(n: int) -> Iterator[tuple[int, int]]:
    """The first and the last column, exclusive, of each panel."""
    for a in range(0, n, PANEL):
        yield a, min(a + PANEL, n)


def add_squares(matrix: Tensor, rows: Tensor) -> None:
    """matrix (n, n) += rows^T rows for rows (k, n), at least in the lower triangle."""
    for a, b in column_panels(len(matrix)):
        matrix[a:b, :b].addmm_(rows[:, a:b].T, rows[:, :b])


class RowBuffer:
    """Up to ``capacity`` rows of n numbers, as float64."""

    def __init__(self, capacity: int, n: int, device: torch.device) -> None:
        self.capacity, self.n, self.device = capacity, n, device
        self.count = 0
        # One more, for a row whose square is to be added with those of the others.
        self._rows = torch.empty(capacity + 1, n, dtype=torch.float64, device=device)

    def append(self, rows: Tensor, *, checked: bool = False) -> bool:
        """Take in rows (k, n) for which there is room; False, and none taken, unless all are
        finite. If they are ``checked``, nothing is read from the device."""
        block = self._rows[self.count : self.count + len(rows)]
        block.copy_(rows)
        # Zero times a number is zero; times NaN or inf it is NaN. That sum can't overflow.
        if not checked and not bool((block * 0).sum() == 0):
            return False
        self.count += len(rows)
        return True

    def rows(self) -> Tensor:
        """A copy of the rows, (count, n)."""
        return self._rows[: self.count].clone()

    def centre(self) -> tuple[Tensor, Tensor]:
        """Subtract the rows' mean from them; that mean as a sum of two, the second of which is what
        rounding left in the first."""
        rows = self._rows[: self.count]
        high = rows.mean(0)
        rows -= high
        return high, rows.mean(0)

    def square(self, matrix: Tensor, row: Tensor) -> None:
        """Add the squares of all rows, and of ``row``, to the lower triangle of ``matrix`` (n, n);
        then forget the rows. (As a part of the one product ``row`` costs no pass over the
        matrix.)"""
        self._rows[self.count] = row
        add_squares(matrix, self._rows[: self.count + 1])
        self.count = 0
