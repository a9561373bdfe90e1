"""Nearest neighbours and balls: products by torch's BLAS a tile at a time, all else in C++.

Memory beside the rows, which may be files mapped into memory: a panel of centred copies in float32,
one tile, and some numbers for each row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast.errors import Refusal

_TILE = 512
"""Columns of a tile, and rows of one on the diagonal: large enough for the product to be at its
full rate."""

_PANEL = 8
"""Tiles one below the other that are one product, 8 MB, so that threads wait for each other an
eighth as often, and the copy of the columns serves all: of the rows that is 32 MB at 2,048
features."""

_FARTHEST = 1e150
"""Of which the square, and its reciprocal, are numbers still."""

_WRONG = "a product of float32 was not made in float32"

Points = tuple[Tensor, Tensor]
"""Rows, contiguous, and their squares: those of the centred and scaled copy."""


def nearest_distances(x: Tensor, k: int) -> Tensor:
    """As in the reference, for float16, float32 and float64."""
    place, (points,) = _placed(x.contiguous())
    n, capacity = len(x), 2 * k + 32
    intervals = torch.empty(2, n, capacity, dtype=torch.float64, device="cpu")
    index = torch.empty(n, capacity, dtype=torch.int64, device="cpu")
    filled = torch.zeros(n, dtype=torch.int64, device="cpu")
    candidates = intervals, index, filled, torch.full_like(filled, math.inf, dtype=torch.float64)
    out = torch.empty(n, k, dtype=torch.float64, device="cpu")
    for row, column, products in _tiles(points[0], points[0], place, half=True):
        _hold(_cpu.nearest_add(points, products, row, column, place.scale, k, *candidates))
    _hold(_cpu.nearest_take(points, place.scale, k, *candidates, out))
    return out


def ball_counts(
    x: Tensor, y: Tensor, x_limits: Tensor, y_limits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As in the reference, for float16, float32 and float64."""
    place, (x_points, y_points) = _placed(x.contiguous(), y.contiguous())
    x_limits, y_limits = x_limits.contiguous(), y_limits.contiguous()
    (p, n), (q, m) = x_limits.shape, y_limits.shape
    x_holds, y_inside, y_holds, x_inside = (
        torch.zeros(shape, dtype=torch.int64, device="cpu")
        for shape in ((p, n), (p, m), (q, m), (q, n))
    )
    around_x, around_y = (x_limits, (x_holds, y_inside)), (y_limits, (y_holds, x_inside))
    for row, column, products in _tiles(x_points[0], y_points[0], place):
        _hold(
            _cpu.ball_count(
                x_points, y_points, products, row, column, place.scale, around_x, around_y
            )
        )
    return x_holds, y_inside, y_holds, x_inside


@dataclass(frozen=True)
class _Place:
    """Where rows are: about a centre, and at most 1 from it in each feature once multiplied by
    ``scale``, a power of two; ``shift`` is minus the centre, so multiplied."""

    shift: Tensor
    scale: float

    def copy(self, rows: Tensor, memory: Tensor) -> Tensor:
        """Rows, in float32, centred and scaled, in ``memory``. What is multiplied by a power of two
        is exact."""
        out = memory[: rows.numel()].view(rows.shape)
        return torch.add(self.shift, rows.to(self.shift.dtype), alpha=self.scale, out=out)


def _placed(*sides: Tensor) -> tuple[_Place, list[Points]]:
    """The place that all sides share, and each with the squares of its copy there.

    Any centre will do, and the nearer to the rows the smaller are the errors of products.
    """
    wide = torch.float64 if sides[0].dtype == torch.float64 else torch.float32
    strips = [side.split(_TILE) for side in sides if len(side)]
    means = [
        torch.stack([rows.sum(0, dtype=wide) for rows in side]).sum(0) / sum(map(len, side))
        for side in strips
    ]
    centre = torch.stack(means).mean(0)
    peaks = [_peak(rows.to(wide) - centre) for side in strips for rows in side]
    peak = float(torch.stack(peaks).max())  # Python's max would lose a NaN
    if not peak < _FARTHEST:
        raise Refusal("the rows are not finite, or too far apart")
    scale = math.ldexp(1.0, min(-math.frexp(peak)[1], 126)) if peak else 1.0
    place = _Place(-centre * scale, scale)
    return place, [(side, _squares(side, place)) for side in sides]


def _peak(rows: Tensor) -> Tensor:
    return torch.stack(rows.aminmax()).abs().max()


def _squares(rows: Tensor, place: _Place) -> Tensor:
    memory, out = _memory(rows, _TILE), torch.empty(len(rows), device="cpu")
    for part, squares in zip(rows.split(_TILE), out.split(_TILE), strict=True):
        torch.linalg.vector_norm(place.copy(part, memory), dim=1, out=squares).square_()
    return out


def _memory(rows: Tensor, most: int) -> Tensor:
    """For copies of up to so many rows."""
    return torch.empty(min(most, len(rows)) * rows.shape[1], device="cpu")


def _tiles(
    x: Tensor, y: Tensor, place: _Place, *, half: bool = False
) -> Iterator[tuple[int, int, Tensor]]:
    """(first row, first column, products) of each tile; with ``half`` only of those on the diagonal
    and above it. The next ones are made in the same memory."""
    height = _PANEL * _TILE
    memory = torch.empty(height * _TILE, device="cpu")
    of_panel, of_columns = _memory(x, height), _memory(y, _TILE)
    for top in range(0, len(x), height):
        panel = place.copy(x[top : top + height], of_panel)
        for column in range(top if half else 0, len(y), _TILE):
            above = min(column - top, len(panel)) if half else len(panel)
            inside = above < len(panel)  # the panel's own rows are the columns
            if inside:
                columns = panel[above : above + _TILE]
            else:
                columns = place.copy(y[column : column + _TILE], of_columns)
            rows = panel[: above + _TILE] if half else panel
            products = memory[: len(rows) * len(columns)].view(len(rows), len(columns))
            with torch.autocast("cpu", enabled=False):
                torch.mm(rows, columns.T, out=products)
            for first, last in ((0, above), (above, len(rows))):
                if first < last:
                    yield top + first, column, products[first:last]


def _hold(as_promised: bool) -> None:
    if not as_promised:
        raise Refusal(_WRONG)
