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
    """``share`` of the fake rows, and ``expected``, that of real rows which the others never saw:
    both from 0 to 1. ``pairs``: (fake row, real row, ratio) of the nearest copies, ratio below 1.
    """

    share: float
    expected: float
    pairs: tuple[tuple[int, int, float], ...]


@no_autograd
def memorisation(real: Any, fake: Any, *, worst: int = 10) -> Memorisation:
    """How many fake rows are nearer to a real one than that is to the other real ones: 1 less
    authenticity (Alaa et al., 2022, arXiv:2102.08921; AuthPct of Stein et al., 2023,
    arXiv:2306.04675)::

        a fake row f with the nearest real row r is a near copy
        if |f - r| < |r - r'| for every other real row r', or f = r

    New samples of the real distribution are such pairs too: two rows that are each other's nearest
    are common, 2/3 of all in one dimension and about half in many. So the share tells something
    beside ``expected``: that of the second half of the real rows as if they were generated from the
    first. Far above it, images are copied.

    Distances are in float64, exact but for some units of the last place. No matrix of all distances
    is made.

    Args:
        real, fake: features (n, d) of training images and (m, d) of generated ones, torch tensors
            on one device or NumPy arrays, of any floating dtype.
        worst: how many pairs to list, those of the smallest ratio |f - r| / |r - r'|.

    Raises:
        ValueError: (an InputError) other shapes or dtypes, NaN or inf, or fewer than 4 real rows.
    """
    worst = _checks.integer("worst", worst, least=0)
    real, fake = as_rows("real", real, least=4), as_rows("fake", fake, least=1)
    if real.shape[1] != fake.shape[1]:
        raise InputError(
            f"fake: got {fake.shape[1]} features, where real has {real.shape[1]}; use the same "
            "extractor for both"
        )
    real, fake = alike(real, fake)
    half = len(real) // 2
    with float32_products("fp32"):
        copies, ratios, nearest = _near_copies(real, fake)
        expected, _, _ = _near_copies(real[:half], real[half:])
    order = ratios.argsort(stable=True)[:worst]
    listed = order[copies[order]].tolist()
    return Memorisation(
        share=float(copies.double().mean()),
        expected=float(expected.double().mean()),
        pairs=tuple((i, int(nearest[i]), float(ratios[i])) for i in listed),
    )


def _near_copies(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each fake row whether it is one, the ratio, and the nearest real row's number."""
    kernels = serve("neighbours", (real,))
    apart = call("neighbours", kernels, "nearest_distances", real, 1)[:, 0]
    squared, nearest = nearest_rows(fake, real)
    limit = apart[nearest]
    ratios = torch.where(squared == 0, 0.0, (squared / limit).sqrt())  # of a duplicated r: infinite
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
        exact = _squared(x[strip], y, found.indices)
        best[strip], place = exact.min(1)
        index[strip] = found.indices.gather(1, place[:, None])[:, 0]
        if count == len(y):
            continue
        farther = found.values[:, -1].double() + size[0][strip].square() - slack[strip]
        for i in ((best[strip] > farther) & (best[strip] > 0)).nonzero()[:, 0].tolist():
            i += strip.start
            best[i], index[i] = (x[i].double() - y.double()).square().sum(1).min(0)
    return best, index


def _squared(x: Tensor, y: Tensor, chosen: Tensor) -> Tensor:
    """(n, k): of row i of x from the rows chosen[i] of y."""
    columns = (x.double() - y[one].double() for one in chosen.unbind(1))
    return torch.stack([difference.square().sum(1) for difference in columns], 1)
