"""What a person looks at: grids of samples, scatter plots, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ganfast.train.environment import need

# One colour per series, told apart by colour-blind readers too (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

STEPS = "generator steps"
MOST_COLUMNS = 3
GAP = 2
"""Pixels between the images of a grid."""


def save_samples(path: Path | BinaryIO, samples: Tensor, real: Tensor | None = None) -> None:
    """A PNG of ``samples``: a grid for images (n, c, h, w) in [-1, 1], a scatter over ``real`` for
    points (n, 2)."""
    if samples.dim() == 4:
        save_grid(path, samples)
    else:
        save_scatter(path, samples, real)


def save_grid(
    path: Path | BinaryIO, images: Tensor, columns: int | None = None, side: int = 48
) -> None:
    """Images (n, 1 or 3 channels, h, w) in [-1, 1] as one PNG, row by row, small ones enlarged to
    about ``side``."""
    image_module = need("PIL.Image")
    n, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale, gap = _scale(height, side), GAP
    tile = width * scale, height * scale
    sheet = image_module.new(
        "RGB", (columns * (tile[0] + gap) + gap, rows * (tile[1] + gap) + gap), (64, 64, 64)
    )
    bytes_ = images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).expand(-1, 3, -1, -1)
    for i, picture in enumerate(bytes_.permute(0, 2, 3, 1).contiguous().numpy()):
        # Smooth enlargement: an 8x8 digit is read by its strokes, not by its squares.
        enlarged = image_module.fromarray(picture).resize(tile, image_module.Resampling.BICUBIC)
        row, column = divmod(i, columns)
        sheet.paste(enlarged, (gap + column * (tile[0] + gap), gap + row * (tile[1] + gap)))
    sheet.save(path, format="PNG")


def grid_pixels(shape: Sequence[int]) -> int:
    """About how many the grid of images (n, c, h, w) has."""
    n, _, height, width = shape
    scale = _scale(height)
    return n * (width * scale + GAP) * (height * scale + GAP)


def _scale(height: int, side: int = 48) -> int:
    return max(1, round(side / height))


def save_scatter(path: Path | BinaryIO, points: Tensor, real: Tensor | None = None) -> None:
    """Generated points (n, 2) over real ones."""
    figure = new_figure(5, 5)
    axes = figure.add_subplot()
    if real is not None:
        axes.scatter(*real.T.numpy(), s=4, color="#BBBBBB", label="real")
    axes.scatter(*points.T.numpy(), s=4, color=COLOURS[1], label="generated")
    axes.set_aspect("equal")
    axes.legend(loc="upper right")
    figure.savefig(path, format="png")


@dataclass
class Panel:
    """Named curves (xs, ys) over one pair of axes."""

    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x_label: str
    y_label: str = ""
    title: str = ""
    y_limits: tuple[float | None, float | None] = (None, None)
    logarithmic: bool = False
    x_logarithmic: bool = False
    marked: bool = False
    colours: Mapping[str, str] | None = None  # by name; else one after the other


def save_curves(
    path: Path, panels: Sequence[Panel], title: str = "", columns: int = MOST_COLUMNS
) -> None:
    """Panels side by side, ``columns`` at most in a row, each on a scale of its own."""
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(5 * columns, 3.6 * rows)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, panel in zip(places, panels, strict=False):
        for (name, (xs, ys)), colour in zip(panel.curves.items(), cycle(COLOURS), strict=False):
            label, marker = name.replace("_", " "), "." if panel.marked else ""
            colour = panel.colours[name] if panel.colours else colour
            axes.plot(xs, ys, label=label, color=colour, marker=marker)
        axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
        if panel.x_logarithmic:
            _logarithmic(axes, axes.xaxis, "x")
        if panel.logarithmic:
            _logarithmic(axes, axes.yaxis, "y")
        axes.set_ylim(*panel.y_limits)
        axes.grid(alpha=0.3)
        if len(panel.curves) > 1 or panel.colours:
            axes.legend(fontsize="small", framealpha=0.6)
    if title:
        figure.suptitle(title)
    figure.savefig(path)


def _logarithmic(axes: Any, axis: Any, which: str) -> None:
    """A scale with 1, 2, 5, 10 on it, and no powers between that write over each other."""
    ticker = need("matplotlib.ticker")
    getattr(axes, f"set_{which}scale")("log")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


PANELS: dict[str, tuple[tuple[str, ...], bool]] = {
    "losses": (("critic_loss", "generator_loss"), False),
    "distances to held-out data": (("distance", "distance_fit", "wasserstein"), False),
    "FID": (("fid",), True),
    "shares": (
        ("precision", "recall", "density", "coverage", "far", "at_mode", "d_of_fake", "clipped")
        + ("zero_gradient", "skipped"),
        False,
    ),
    "gradients and penalties": (
        ("generator_gradient", "critic_slope", "penalty", "r1", "r2"),
        True,
    ),
}
"""Which quantities of a log share a pair of axes, and whether these are logarithmic."""


def save_log(path: Path, lines: Sequence[dict[str, Any]], title: str) -> None:
    """Every quantity of a run's log over its generator steps, like with like."""
    left = list(dict.fromkeys(name for line in lines for name in line if name != "step"))
    panels = []
    for heading, (names, logarithmic) in PANELS.items():
        curves = {name: series(lines, name) for name in names if name in left}
        left = [name for name in left if name not in curves]
        if curves:
            panels.append(Panel(curves, STEPS, title=heading, logarithmic=logarithmic))
    if left or not panels:
        panels.append(Panel({name: series(lines, name) for name in left}, STEPS, title="the rest"))
    save_curves(path, panels, title)


def series(lines: Sequence[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """(steps, values) of one quantity of a log."""
    having = [line for line in lines if name in line]
    return [line["step"] for line in having], [line[name] for line in having]


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure of its own, in inches: no pyplot, so no window system and nothing
    global."""
    return need("matplotlib.figure").Figure(figsize=(width, height), dpi=120, layout="constrained")
