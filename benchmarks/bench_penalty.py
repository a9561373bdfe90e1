"""Interpolation and penalty.

The two ops of a gradient penalty that are not the critic's: points between real and fake samples,
with the largest distance from the line between them as the error, and mean (||g_i|| - 1)^2 of a
gradient that is there, forward and backward, with the larger relative error of value and gradient
against float64. What they are of a whole step is in the suite `steps`. The limit is 12 bytes per
number at the bandwidth of a copy.
"""

from __future__ import annotations

from benchmarks.contest import Case, hold
from benchmarks.penalty.from_gradient import FromGradient
from benchmarks.penalty.images import LAYOUTS, SHAPES, Images
from benchmarks.penalty.interpolation import Interpolation


def chosen(quick: bool) -> list[Case]:
    shapes, layouts = (SHAPES[:1], ["channels_last"]) if quick else (SHAPES, list(LAYOUTS))
    images = [Images(shape, layout) for shape in shapes for layout in layouts]
    return [*map(Interpolation, images), *map(FromGradient, images)]


def test_penalty(benchmark, case: Case, is_quick: bool) -> None:
    hold(benchmark, case, is_quick)
