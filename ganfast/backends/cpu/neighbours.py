"""Nearest neighbours and balls: products by torch's BLAS a tile at a time, all else in C++.

Memory beside the rows: one centred copy of them in float32, one tile, some 20 numbers for each row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast.errors import Refusal

_TILE = 512
"""Rows and columns of a tile: 1 MB, and large enough for the product to be at its full rate."""

_FARTHEST = 1e150
"""Of which the square, and its reciprocal, are numbers still."""

_WRONG = "a product of float32 was not made in float32"

Points = tuple[Tensor, Tensor]
"""Rows, contiguous, and their squares: of the centred and scaled copy, which is beside them."""


def nearest_distances(x: Tensor, k: int) -> Tensor:
    """As in the reference, for float32 and float64."""
    x = x.contiguous()
    ((points, copy),), scale = _prepared(x)
    n, capacity = len(x), 2 * k + 32
    intervals = torch.empty(2, n, capacity, dtype=torch.float64, device="cpu")
    index = torch.empty(n, capacity, dtype=torch.int64, device="cpu")
    filled = torch.zeros(n, dtype=torch.int64, device="cpu")
    candidates = intervals, index, filled, torch.full_like(filled, math.inf, dtype=torch.float64)
    out = torch.empty(n, k, dtype=torch.float64, device="cpu")
    # The matrix of all distances is symmetric: half of its tiles will do.
    for row, column, products in _tiles(copy, copy, lambda row, column: column >= row):
        _hold(_cpu.nearest_add(points, products, row, column, scale, k, *candidates))
    _hold(_cpu.nearest_take(points, scale, k, *candidates, out))
    return out


def ball_counts(
    x: Tensor, y: Tensor, x_limits: Tensor, y_limits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As in the reference, for float32 and float64."""
    ((x_points, x_copy), (y_points, y_copy)), scale = _prepared(x.contiguous(), y.contiguous())
    x_limits, y_limits = x_limits.contiguous(), y_limits.contiguous()
    (p, n), (q, m) = x_limits.shape, y_limits.shape
    x_holds, y_inside, y_holds, x_inside = (
        torch.zeros(shape, dtype=torch.int64, device="cpu")
        for shape in ((p, n), (p, m), (q, m), (q, n))
    )
    around_x, around_y = (x_limits, (x_holds, y_inside)), (y_limits, (y_holds, x_inside))
    for row, column, products in _tiles(x_copy, y_copy, lambda row, column: True):
        _hold(_cpu.ball_count(x_points, y_points, products, row, column, scale, around_x, around_y))
    return x_holds, y_inside, y_holds, x_inside


def _prepared(*sides: Tensor) -> tuple[list[tuple[Points, Tensor]], float]:
    """Each side with its copy about one centre, and the power of two that brings all to 1.

    Any centre will do, and the nearer to the rows the smaller are the errors of products.
    """
    centre = torch.stack([side.mean(0) for side in sides if len(side)]).mean(0)
    copies = [side - centre for side in sides]
    peak = max(float(torch.stack(copy.aminmax()).abs().max()) for copy in copies if len(copy))
    if not peak < _FARTHEST:
        raise Refusal("the rows are not finite, or too far apart")
    scale = math.ldexp(1.0, min(-math.frexp(peak)[1], 126)) if peak else 1.0
    copies = [copy.mul_(scale).float() for copy in copies]
    squares = [torch.linalg.vector_norm(copy, dim=1).square() for copy in copies]
    points = list(zip(sides, squares, strict=True))
    return list(zip(points, copies, strict=True)), scale


def _tiles(
    x: Tensor, y: Tensor, wanted: Callable[[int, int], bool]
) -> Iterator[tuple[int, int, Tensor]]:
    """(first row, first column, products) of each tile; the next one is made in the same memory."""
    memory = torch.empty(_TILE * _TILE, device="cpu")
    for row in range(0, len(x), _TILE):
        rows = x[row : row + _TILE]
        for column in range(0, len(y), _TILE):
            if wanted(row, column):
                columns = y[column : column + _TILE]
                products = memory[: len(rows) * len(columns)].view(len(rows), len(columns))
                with torch.autocast("cpu", enabled=False):
                    torch.mm(rows, columns.T, out=products)
                yield row, column, products


def _hold(as_promised: bool) -> None:
    if not as_promised:
        raise Refusal(_WRONG)
