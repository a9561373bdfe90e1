"""Are generated images copies of training images?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganfast import _checks
from ganfast._dispatch import call, serve
from ganfast.errors import InputError
from ganfast.metrics.arrays import alike, as_rows
from ganfast.metrics.extractors.precision import float32_products
from ganfast.metrics.no_autograd import no_autograd

_CANDIDATES = 8
_PRODUCTS = 2**23
"""At a time: 32 MB."""


@dataclass(frozen=True)
class Memorisation:
    """``share`` of the fake rows, and ``expected``, that of rows of real images which nothing was
    generated from: both from 0 to 1. ``pairs``: (fake row, real row, ratio) of the nearest copies,
    ratio below 1.
    """

    share: float
    expected: float
    pairs: tuple[tuple[int, int, float], ...]


@no_autograd
def memorisation(real: Any, fake: Any, *, held_out: Any = None, worst: int = 10) -> Memorisation:
    """How many fake rows are nearer to a real one than that is to the other real ones: 1 less
    authenticity (Alaa et al., 2022, arXiv:2102.08921; AuthPct of Stein et al., 2023,
    arXiv:2306.04675)::

        a fake row f with the nearest real row r is a near copy
        if |f - r| < |r - r'| for every other real row r', or f = r

    New samples of the real distribution are such pairs too: two rows that are each other's nearest
    are common, 2/3 of all in one dimension and about half in many. So the share tells something
    beside ``expected``: that of the second half of the real rows as if they were generated from the
    first. Far above it, images are copied.

    With real images that were not trained on there is no need to halve (the comparison of three
    samples of Meehan et al., 2020, arXiv:2004.05675, image by image)::

        a fake row f with the nearest real row r is a near copy
        if |f - r| < |h - r| for every held-out row h, or f = r

    and ``expected`` is the same of each held-out row beside the others.

    Distances are in float64, exact but for some units of the last place. No matrix of all distances
    is made.

    Args:
        real, fake: features (n, d) of training images and (m, d) of generated ones, torch tensors
            on one device or NumPy arrays, of any floating dtype.
        held_out: features (l, d) of real images that were not trained on, or None.
        worst: how many pairs to list, those of the smallest ratio |f - r| / |r - r'|, or
            |f - r| / |h - r|.

    Raises:
        ValueError: (an InputError) other shapes or dtypes, NaN or inf, fewer than 4 real rows or 2
            held-out ones.
    """
    worst = _checks.integer("worst", worst, least=0)
    real, fake = as_rows("real", real, least=4), as_rows("fake", fake, least=1)
    others = [("fake", fake)]
    if held_out is not None:
        held_out = as_rows("held_out", held_out, least=2)
        others.append(("held_out", held_out))
    for name, rows in others:
        if real.shape[1] != rows.shape[1]:
            raise InputError(
                f"{name}: got {rows.shape[1]} features, where real has {real.shape[1]}; use the "
                "same extractor for both"
            )
    real, fake = alike(real, fake)
    half = len(real) // 2
    with float32_products("fp32"):
        if held_out is None:
            limit = _apart(real)
            expected = _near_copies(real[half:], real[:half], _apart(real[:half]))[0]
        else:
            real, held_out = alike(real, held_out)
            limit, closest = nearest_rows(real, held_out)
            squared, real_row = nearest_rows(held_out, real)
            own = torch.arange(len(held_out), device=real.device)
            expected = (closest[real_row] == own) | (squared == 0)
        copies, ratios, nearest = _near_copies(fake, real, limit)
    order = ratios.argsort(stable=True)[:worst]
    listed = order[copies[order]].tolist()
    return Memorisation(
        share=float(copies.double().mean()),
        expected=float(expected.double().mean()),
        pairs=tuple((i, int(nearest[i]), float(ratios[i])) for i in listed),
    )


def _apart(rows: Tensor) -> Tensor:
    """(n,): of each row the squared distance from the nearest other one."""
    found: Tensor = call("neighbours", serve("neighbours", (rows,)), "nearest_distances", rows, 1)
    return found[:, 0]


def _near_copies(fake: Tensor, real: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each fake row whether it is nearer to the nearest real row than that row's limit, a
    squared distance; the ratio; and that row's number."""
    squared, nearest = nearest_rows(fake, real)
    # Of a limit of 0, a duplicated row's, it is infinite.
    ratios = torch.where(squared == 0, 0.0, (squared / limit[nearest]).sqrt())
    return ratios < 1, ratios, nearest


@no_autograd
def nearest_rows(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of x (n, d) the squared distance, float64, from the nearest row of y (m, d), and
    its number; of equally near ones, any.

    Products of float32 leave a few candidates, whose distances are then sums of squared
    differences. Where round-off might have hidden a nearer row, all are looked at.
    """
    centre = y.mean(0)
    a, b = ((side - centre).float() for side in (x, y))
    size = torch.linalg.vector_norm(a.double(), dim=1), torch.linalg.vector_norm(b.double(), dim=1)
    squares = size[1].square().float()
    # Of |b|^2 - 2 a.b, in any order of summation, with what the copies were rounded by.
    slack = (x.shape[1] + 8) * torch.finfo(torch.float32).eps * (size[0] + size[1].max()).square()
    count = min(_CANDIDATES + 1, len(y))
    best, index = x.new_empty(len(x), dtype=torch.float64), x.new_empty(len(x), dtype=torch.int64)
    for rows in torch.arange(len(x)).split(max(1, _PRODUCTS // len(y))):
        strip = slice(int(rows[0]), int(rows[-1]) + 1)
        nearness = torch.addmm(squares, a[strip], b.T, alpha=-2)
        found = nearness.topk(count, largest=False, sorted=True)
        # Any other than these is farther than the first, whatever round-off did to both.
        may_be = found.values.double() <= found.values[:, :1].double() + 2 * slack[strip, None]
        exact = _squared(x[strip], y, found.indices, may_be)
        best[strip], place = exact.min(1)
        index[strip] = found.indices.gather(1, place[:, None])[:, 0]
        if count == len(y):
            continue
        farther = found.values[:, -1].double() + size[0][strip].square() - slack[strip]
        for i in ((best[strip] > farther) & (best[strip] > 0)).nonzero()[:, 0].tolist():
            i += strip.start
            best[i], index[i] = (x[i].double() - y.double()).square().sum(1).min(0)
    return best, index


def _squared(x: Tensor, y: Tensor, chosen: Tensor, wanted: Tensor) -> Tensor:
    """(n, k): of row i of x from the rows chosen[i] of y, where that is wanted; else infinite."""
    squared = torch.full(chosen.shape, torch.inf, dtype=torch.float64, device=x.device)
    for column in range(chosen.shape[1]):
        at = wanted[:, column].nonzero()[:, 0]
        difference = x[at].double() - y[chosen[at, column]].double()
        squared[at, column] = difference.square().sum(1)
    return squared
