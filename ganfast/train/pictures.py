"""What a person looks at: grids of samples, scatter plots, curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganfast.train.environment import need

# One colour per series, told apart by colour-blind readers too (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


def save_samples(path: Path, samples: Tensor, real: Tensor | None = None) -> None:
    """A PNG of ``samples``: a grid for images (n, c, h, w) in [-1, 1], a scatter over ``real`` for
    points (n, 2)."""
    if samples.dim() == 4:
        save_grid(path, samples)
    else:
        save_scatter(path, samples, real)


def save_grid(path: Path, images: Tensor, columns: int | None = None, side: int = 48) -> None:
    """Images (n, 1 or 3 channels, h, w) in [-1, 1] as one PNG, row by row, small ones enlarged to
    about ``side``."""
    image_module = need("PIL.Image")
    n, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = max(1, round(side / height))
    tile, gap = (width * scale, height * scale), 2
    sheet = image_module.new(
        "RGB", (columns * (tile[0] + gap) + gap, rows * (tile[1] + gap) + gap), (64, 64, 64)
    )
    bytes_ = images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).expand(-1, 3, -1, -1)
    for i, picture in enumerate(bytes_.permute(0, 2, 3, 1).contiguous().numpy()):
        # Smooth enlargement: an 8x8 digit is read by its strokes, not by its squares.
        enlarged = image_module.fromarray(picture).resize(tile, image_module.Resampling.BICUBIC)
        row, column = divmod(i, columns)
        sheet.paste(enlarged, (gap + column * (tile[0] + gap), gap + row * (tile[1] + gap)))
    sheet.save(path)


def save_scatter(path: Path, points: Tensor, real: Tensor | None = None) -> None:
    """Generated points (n, 2) over real ones."""
    figure = new_figure(5, 5)
    axes = figure.add_subplot()
    if real is not None:
        axes.scatter(*real.T.numpy(), s=4, color="#BBBBBB", label="real")
    axes.scatter(*points.T.numpy(), s=4, color=COLOURS[1], label="generated")
    axes.set_aspect("equal")
    axes.legend(loc="upper right")
    figure.savefig(path)


def save_loss_curves(path: Path, lines: Sequence[dict[str, Any]], title: str) -> None:
    """Every quantity of a run's log over its generator steps, one panel each for losses and for the
    rest."""
    figure = new_figure(10, 3.6)
    losses, rest = figure.subplots(1, 2)
    named = [name for name in lines[-1] if name not in ("step", "seconds")] if lines else []
    for name, colour in zip(named, COLOURS, strict=False):
        axes = losses if name.endswith("_loss") else rest
        axes.plot(*series(lines, name), label=name.replace("_", " "), color=colour)
    for axes in (losses, rest):
        axes.set_xlabel("generator steps")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.suptitle(title)
    figure.savefig(path)


def save_curves(
    path: Path, curves: dict[str, tuple[list[int], list[float]]], x_label: str, y_label: str
) -> None:
    """Named curves (xs, ys), a panel each: their scales need not compare."""
    figure = new_figure(5 * len(curves), 3.6)
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (name, (xs, ys)) in zip(panels, curves.items(), strict=True):
        axes.plot(xs, ys, color=COLOURS[0])
        axes.set_title(name)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_ylim(bottom=min(0.0, *ys))
        axes.grid(alpha=0.3)
    figure.savefig(path)


def save_pulls(path: Path, pulls: dict[str, tuple[list[int], list[float]]]) -> None:
    """Gradient norms (steps, norms) of each game on one logarithmic scale."""
    figure = new_figure(6, 3.6)
    axes = figure.add_subplot()
    for (game, (steps, norms)), colour in zip(pulls.items(), COLOURS, strict=False):
        axes.semilogy(steps, norms, label=game, color=colour)
    axes.set_xlabel("critic steps, the generator standing still")
    axes.set_ylabel("norm of the generator's gradient")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def save_generator_costs(
    path: Path, probability: Tensor, costs: dict[str, tuple[Tensor, Tensor]]
) -> None:
    """The classic figure: each game's generator cost against D(G(z)), and beside it the slope that
    trains G."""
    figure = new_figure(10, 4)
    panels = figure.subplots(1, 2)
    for (game, pair), colour in zip(costs.items(), COLOURS, strict=False):
        for axes, values in zip(panels, pair, strict=True):
            axes.plot(
                probability.numpy(), values.numpy(), label=game.replace("_", " "), color=colour
            )
    for axes, name in zip(
        panels, ("cost of the generator", "its slope d cost / d D(G(z))"), strict=True
    ):
        axes.set_xlabel("D(G(z)): how real the critic finds the sample")
        axes.set_ylabel(name)
        axes.set_ylim(-20, 5)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left")
    figure.savefig(path)


def series(lines: Sequence[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """(steps, values) of one quantity of a log."""
    having = [line for line in lines if name in line]
    return [line["step"] for line in having], [line[name] for line in having]


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure of its own, in inches: no pyplot, so no window system and nothing
    global."""
    return need("matplotlib.figure").Figure(figsize=(width, height), dpi=120, layout="constrained")
