"""Interpolation and penalty.

The two ops of a gradient penalty that are not the critic's: points between real and fake samples,
with the largest distance from the line between them as the error, and mean (||g_i|| - 1)^2 of a
gradient that is there, forward and backward, with the larger relative error of value and gradient
against float64; on a GPU also forward alone. Second order is the derivative of that gradient along
a direction, from the penalty on. What they are of a whole step is in the suite `steps`. The limit
is 12 bytes per number, 24 for second order, 4 for forward, at the bandwidth of a copy.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.harness import Harness
from ganfast.bench.case import Case
from ganfast.bench.penalty import LAYOUTS, forward, from_gradient, interpolation, second_order

SHAPES = ((64, 3, 32, 32), (64, 3, 64, 64), (16, 3, 256, 256))
ON_GPU = ((8, 3, 1024, 1024), (64, 3, 64, 64))


def cases(quick: bool, device: str) -> list[Case]:
    if device != "cpu":
        return on_gpu(quick)
    shapes, layouts = (SHAPES[:1], ["channels_last"]) if quick else (SHAPES, list(LAYOUTS))
    return [
        op(shape, layout)
        for op in (interpolation, from_gradient, second_order)
        for shape in shapes
        for layout in layouts
    ]


def on_gpu(quick: bool) -> list[Case]:
    """Few long rows, where one program for each would lose, and many short ones."""
    ops = (second_order, from_gradient, forward, interpolation)
    if quick:
        return [op((16, 3, 4, 4), "channels_last") for op in ops]
    cases = [op(shape) for shape in ON_GPU for op in ops]
    cases += [op(ON_GPU[0], "channels_last") for op in ops[:2]]
    return [replace(case, seconds=0.7) for case in cases]


def test_penalty(benchmark, harness: Harness, case: Case, graph: bool, provider: str) -> None:
    harness.record(benchmark, case, graph, provider)
