"""The demo: four games on real handwritten digits, judged by one table, shown in one report."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ganfast.train import pictures, report
from ganfast.train.classifier import Judge, train_classifier
from ganfast.train.config import TrainConfig
from ganfast.train.data import digits
from ganfast.train.environment import cpu_threads, writable_folder
from ganfast.train.generator_cost import generator_costs, vanishing_gradients
from ganfast.train.pictures import Panel
from ganfast.train.report import Row
from ganfast.train.run import Run, train

# Generator steps of each game. A Wasserstein critic steps more often, so its games get fewer.
STEPS = {"minimax": 2000, "nonsaturating": 2000, "wgan": 2000, "wgan-gp": 1000}

# On 8x8 images a second thread gains little on a quiet machine and costs a lot on a busy one, where
# threads spin while they wait for each other. One also gives the same bits for any number of cores.
THREADS = 1


@cpu_threads(THREADS)
def run_demo(out: Path, *, seed: int = 0) -> list[Row]:
    """Train every game on the digits, print a table, and fill ``out`` with pictures and
    ``report.md``.

    Under four minutes on two CPU cores. The same seed gives the same samples and scores on the same
    machine. What an earlier demo left in ``out`` is replaced. On Ctrl-C the game in progress keeps
    its checkpoint and pictures.

    Raises:
        InputError: ``out`` can't be written.
    """
    start = time.perf_counter()
    configs = [
        TrainConfig(game=game, steps=steps, seed=seed, out=out / game, overwrite=True, log_every=25)
        for game, steps in STEPS.items()
    ]
    writable_folder(out)  # before the first minute is spent

    classifier = train_classifier(seed=seed)
    judge = Judge(classifier.model, digits())
    random = torch.Generator().manual_seed(seed)
    noise = torch.rand(judge.floor.shape, generator=random) * 2 - 1
    pictures.save_grid(out / "real.png", judge.floor[:100], columns=20)

    print(report.HEADER, flush=True)
    rows = [Row("real digits", None, judge(judge.floor)), Row("noise", None, judge(noise))]
    for row in rows:
        print(row.line(), flush=True)
    runs: dict[str, Run] = {}
    for config in configs:
        game = config.game
        runs[game] = train(config)
        samples = runs[game].sample(judge.count, seed=seed + 1)
        pictures.save_grid(out / f"{game}.png", samples[:100], columns=20)
        rows.append(Row(game, runs[game].seconds, judge(samples)))
        print(rows[-1].line(), flush=True)

    vanishing = vanishing_gradients(("minimax", "nonsaturating"), seed=seed)
    save_figures(out, runs, vanishing)
    seconds = time.perf_counter() - start
    text = report.write(rows, runs, vanishing, classifier, seed, seconds)
    (out / "report.md").write_text(text, encoding="utf-8")
    print(
        f"{out / 'report.md'} shows the samples and the curves ({seconds:.0f} s in all)", flush=True
    )
    return rows


def save_figures(out: Path, runs: dict[str, Run], vanishing: report.Vanishing) -> None:
    """The Wasserstein estimates, the generator's costs, and what is left of their gradients."""
    panels = []
    for game, run in runs.items():
        steps, values = pictures.series(run.lines, "wasserstein")
        if values:
            limits = (min(0.0, *values), None)
            curve = {game: (steps, values)}
            panels.append(Panel(curve, pictures.STEPS, "Wasserstein estimate", game, limits))
    pictures.save_curves(out / "wasserstein.png", panels)

    probability = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    costs = generator_costs(probability, ("minimax", "nonsaturating", "maximum_likelihood"))
    panels = [
        Panel(
            {game: (probability.tolist(), pair[i].tolist()) for game, pair in costs.items()},
            "D(G(z)): how real the critic finds the sample",
            label,
            y_limits=(-20, 5),
        )
        for i, label in enumerate(("cost of the generator", "its slope d cost / d D(G(z))"))
    ]
    pictures.save_curves(out / "generator_costs.png", panels)

    steps, norms = vanishing
    curves = {game: (steps, values) for game, values in norms.items()}
    panel = Panel(
        curves,
        "critic steps, the generator standing still",
        "norm of the generator's gradient",
        logarithmic=True,
    )
    pictures.save_curves(out / "vanishing.png", [panel])
