"""Nearest neighbours of rows, and the balls that hold them: squared distances in float64.

A distance is the sum of squared differences, never |x|^2 + |y|^2 - 2 x.y, which loses all digits
far from the origin: it has a relative error of some units of float64 wherever the rows are, is 0
for equal rows and only for them, and is the same number for (x, y) and for (y, x). So comparisons
of distances with distances, ties included, are those of exact arithmetic up to such a unit.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_PAIRS = 2**22
"""Distances at a time, and numbers of rows that are made wide: 32 MB."""


def nearest_distances(x: Tensor, k: int) -> Tensor:
    """The squared distances of each row of x (n, d) from the k < n nearest of the others.

    Returns:
        (n, k) float64, ascending. A row is not its own neighbour, but its duplicates are.
    """
    nearest = [x.new_empty(0, k, dtype=torch.float64)]
    for rows, squared in _strips(x, x):
        own = torch.arange(rows.start, rows.stop, device=x.device)
        squared[own - rows.start, own] = torch.inf
        nearest.append(squared.topk(k, largest=False, sorted=True).values)
    return torch.cat(nearest)


def ball_counts(
    x: Tensor, y: Tensor, x_limits: Tensor, y_limits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How many rows lie in balls around the rows of the other side.

    Args:
        x, y: (n, d) and (m, d).
        x_limits, y_limits: (p, n) and (q, m) float64: p radii of a ball around each row of x, and q
            of one around each row of y, squared. What has exactly that distance is inside; for open
            balls give the next smaller number, for none a negative one.

    Returns:
        int64: how many rows of y each ball around a row of x holds, (p, n); in how many of these
        each row of y lies, (p, m); how many rows of x each ball around a row of y holds, (q, m); in
        how many of these each row of x lies, (q, n).
    """
    (p, n), (q, m) = x_limits.shape, y_limits.shape
    x_holds, x_inside, y_inside, y_holds = (
        torch.zeros(shape, dtype=torch.int64, device=x.device)
        for shape in ((p, n), (q, n), (p, m), (q, m))
    )
    for rows, squared in _strips(x, y):
        for i in range(p):
            inside = squared <= x_limits[i, rows, None]
            x_holds[i, rows] = inside.sum(1)
            y_inside[i] += inside.sum(0)
        for i in range(q):
            inside = squared <= y_limits[i]
            x_inside[i, rows] = inside.sum(1)
            y_holds[i] += inside.sum(0)
    return x_holds, y_inside, y_holds, x_inside


def _strips(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(rows of x, their squared distances from all rows of y), a strip of rows at a time. Both may
    be files mapped into memory: no copy of all rows is made."""
    height = max(1, _PAIRS // max(1, len(y)))
    width = max(1, _PAIRS // max(1, y.shape[1]))
    for a in range(0, len(x), height):
        rows = slice(a, min(a + height, len(x)))
        strip = x[rows].double()
        parts = [
            torch.cdist(strip, part.double(), compute_mode="donot_use_mm_for_euclid_dist")
            for part in y.split(width)
        ]
        yield rows, torch.cat(parts, 1).square_()
