"""The pictures of the demo's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ganfast.train import pictures
from ganfast.train.data import ring
from ganfast.train.generator_cost import Vanishing, generator_costs
from ganfast.train.pictures import Panel, new_figure
from ganfast.train.results import Played, over_fid

COSTS = ("minimax", "nonsaturating", "maximum_likelihood")


def save(out: Path, found: Mapping[str, Sequence[Played]], vanishing: Vanishing) -> None:
    """All of them, into ``out``."""
    save_costs(out / "generator_costs.png")
    save_vanishing(out / "vanishing.png", vanishing)
    points = [row for row in found.values() if row[0].is_points]
    images = [row for row in found.values() if not row[0].is_points]
    save_ring(out / "ring.png", points)
    for runs in images:
        name = runs[0].folder.rpartition("-")[0]
        pictures.save_grid(out / f"{name}.png", torch.from_numpy(runs[0].samples[:60]), columns=20)
    save_stopping(out / "stopping.png", [runs[0] for runs in images])


def save_costs(path: Path) -> None:
    """Figure 5.2: cost, and slope with respect to the logit."""
    probability = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    costs = generator_costs(probability, COSTS)
    labels = ("cost of the generator", "slope d cost / d logit")
    panels = [
        Panel(
            {game: (probability.tolist(), pair[i].tolist()) for game, pair in costs.items()},
            "D(G(z)): how real the critic finds the sample",
            label,
            y_limits=limits,
        )
        for i, (label, limits) in enumerate(zip(labels, ((-8, 5), (-2.2, 0.2)), strict=True))
    ]
    pictures.save_curves(path, panels)


def save_vanishing(path: Path, vanishing: Vanishing) -> None:
    """What is left of the generator's gradient while its critic gets ahead."""
    curves = {game: (vanishing.steps, norms) for game, norms in vanishing.norms.items()}
    x_label = "critic steps, the generator standing still"
    panel = Panel(curves, x_label, "norm of the generator's gradient", logarithmic=True)
    pictures.save_curves(path, [panel])


def save_ring(path: Path, rows: Sequence[Sequence[Played]]) -> None:
    """Samples over real points: a line for each row, a column for each seed."""
    columns = max(map(len, rows))
    figure = new_figure(2.6 * columns, 2.75 * len(rows))
    real = ring().held_out.first(1000).T.numpy()
    places = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    for line, runs in zip(places, rows, strict=True):
        for axes, run in zip(line, runs, strict=True):
            axes.scatter(*real, s=3, color="#BBBBBB")
            axes.scatter(*run.samples[:1000].T, s=3, color=pictures.COLOURS[1], alpha=0.5)
            modes, share = run.judged["modes"], run.judged["at_mode"]
            axes.set_title(f"{modes:.0f} modes, {share:.0%} at one", fontsize=10)
            axes.set(xlim=(-2.9, 2.9), ylim=(-2.9, 2.9), aspect="equal", xticks=[], yticks=[])
        line[0].set_ylabel(runs[0].title, fontsize=11)
    figure.savefig(path)


def save_stopping(path: Path, runs: Sequence[Played]) -> None:
    """What could say when to stop, over what it should tell of, the FID: by a critic of its own, by
    the training critic's estimate, and by the losses of the games that have no estimate."""
    kinds = {
        "independent critic's distance": ("distance", lambda run: True),
        "training critic's estimate": ("wasserstein", _has("wasserstein")),
        "training critic's loss": ("critic_loss", lambda run: not _has("wasserstein")(run)),
    }
    colours = {run.row: colour for run, colour in zip(runs, pictures.COLOURS, strict=False)}
    panels = []
    for title, (name, fits) in kinds.items():
        curves = {run.row: over_fid(run, name) for run in runs if fits(run)}
        panels.append(Panel(curves, "FID", title, x_logarithmic=True, marked=True, colours=colours))
    pictures.save_curves(path, panels)


def _has(name: str) -> Any:
    return lambda run: any(name in line for line in run.lines)
