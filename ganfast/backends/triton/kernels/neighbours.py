"""Squared distances of rows a tile at a time, in registers: the nearest are kept, or what lies in
balls is counted. No tile is ever written.

Float64, and sums of squared differences, as in the reference: on a GPU for computing half the rate
of float32, and no question about round-off. Rows come transposed, (d, n), so that a feature of
neighbouring rows is one load.
"""

import triton
import triton.language as tl

from ganfast.backends.triton.kernels.scalars import wide_integer

_SCALARS = ["n", "m", "d", "tiles"]


@triton.jit
def squared_distances(x, y, rows, columns, n, m, d, TILE: tl.constexpr):
    """(TILE, TILE) of the rows of x (d, n) and of y (d, m); meaningless behind the last ones."""
    total = tl.zeros((TILE, TILE), tl.float64)
    at_x, at_y = x + tl.minimum(rows, n - 1), y + tl.minimum(columns, m - 1)
    for _ in range(d.to(tl.int32)):
        difference = tl.load(at_x).to(tl.float64)[:, None] - tl.load(at_y).to(tl.float64)[None, :]
        total += difference * difference
        at_x += n
        at_y += m
    return total


@triton.jit(do_not_specialize=_SCALARS)
def nearest_kernel(
    out, x, n: tl.int64, d: tl.int64, tiles: tl.int64,
    K: tl.constexpr, KEPT: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """out (parts, n, KEPT): the K smallest of each row over ``tiles`` tiles, in any order; the KEPT
    - K others are -inf. A row is not its own neighbour."""
    n, d, tiles = wide_integer(n), wide_integer(d), wide_integer(tiles)
    part = wide_integer(tl.program_id(1))
    rows = wide_integer(tl.program_id(0)) * TILE + tl.arange(0, TILE)
    places = tl.arange(0, KEPT)[None, :]
    lanes = tl.arange(0, TILE)
    infinity = float("inf")
    kept = tl.zeros((TILE, KEPT), tl.float64) + tl.where(places < K, infinity, -infinity)
    end = tl.minimum((part + 1) * tiles * TILE, n)
    first = part * tiles * TILE
    while first < end:
        columns = first + lanes
        squared = squared_distances(x, x, rows, columns, n, n, d, TILE)
        other = (columns < n)[None, :] & (rows[:, None] != columns[None, :])
        squared = tl.where(other, squared, infinity)
        least, worst = tl.min(squared, axis=1), tl.max(kept, axis=1)
        while tl.max((least < worst).to(tl.int32), axis=0) > 0:
            # In each row where it helps, the smallest takes the place of the largest that is kept.
            takes = (least < worst)[:, None]
            place = tl.argmax(kept, axis=1)[:, None]
            kept = tl.where(takes & (places == place), least[:, None], kept)
            lane = tl.argmin(squared, axis=1)[:, None]
            squared = tl.where(takes & (lanes[None, :] == lane), infinity, squared)
            least, worst = tl.min(squared, axis=1), tl.max(kept, axis=1)
        first += TILE
    at = out + (part * n + rows)[:, None] * KEPT + places
    tl.store(at, kept, mask=(rows < n)[:, None] & (places < KEPT))


@triton.jit(do_not_specialize=_SCALARS)
def ball_kernel(
    x_holds, y_inside, y_holds, x_inside, x, y, x_limits, y_limits,
    n: tl.int64, m: tl.int64, d: tl.int64,
    P: tl.constexpr, Q: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Adds a tile's counts, as the reference's ball_counts has them, to int32: in any order the
    same."""
    n, m, d = wide_integer(n), wide_integer(m), wide_integer(d)
    rows = wide_integer(tl.program_id(0)) * TILE + tl.arange(0, TILE)
    columns = wide_integer(tl.program_id(1)) * TILE + tl.arange(0, TILE)
    squared = squared_distances(x, y, rows, columns, n, m, d, TILE)
    there = (rows < n)[:, None] & (columns < m)[None, :]
    for i in tl.static_range(P):
        limit = tl.load(x_limits + i * n + rows, mask=rows < n, other=-1.0)
        inside = ((squared <= limit[:, None]) & there).to(tl.int32)
        tl.atomic_add(x_holds + i * n + rows, tl.sum(inside, axis=1), mask=rows < n, sem="relaxed")
        tl.atomic_add(
            y_inside + i * m + columns, tl.sum(inside, axis=0), mask=columns < m, sem="relaxed"
        )
    for i in tl.static_range(Q):
        limit = tl.load(y_limits + i * m + columns, mask=columns < m, other=-1.0)
        inside = ((squared <= limit[None, :]) & there).to(tl.int32)
        tl.atomic_add(
            y_holds + i * m + columns, tl.sum(inside, axis=0), mask=columns < m, sem="relaxed"
        )
        tl.atomic_add(x_inside + i * n + rows, tl.sum(inside, axis=1), mask=rows < n, sem="relaxed")
