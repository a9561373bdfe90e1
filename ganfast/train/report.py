"""The demo's table and its report: what came out, in words that follow from the numbers."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Mapping, Sequence
from statistics import mean

import torch

from ganfast.games import GAMES
from ganfast.train.figures import COSTS
from ganfast.train.generator_cost import Vanishing, generator_costs
from ganfast.train.pictures import series
from ganfast.train.results import (
    COLUMNS,
    Facts,
    Played,
    cells,
    listed,
    over_fid,
    seeds_of,
    spoken,
    table_rows,
)
from ganfast.train.watch import rank_correlation, stopped_at

PATIENCE = 3
A_CLASS_LESS = 0.08  # class KL without one class that a thirteenth of real samples belong to


def write(facts: Facts) -> str:
    """``report.md``, which shows the pictures that lie beside it."""
    return "\n".join(
        (
            _opening(facts),
            _table_of_games(),
            _costs(facts.vanishing),
            _ring(facts.points),
            _digits(facts),
            _stopping(facts.watched),
        )
    )


def _opening(facts: Facts) -> str:
    return f"""# ganfast demo

What training a GAN is like, measured in {facts.seconds:.0f} seconds on `{platform.machine()}`, a
thread for each run. Seed: {facts.seed}. Torch: {torch.__version__}. Every number and every sentence
about one comes from this run. ± is the standard deviation over seeds.
"""


def _table_of_games() -> str:
    return f"""## The games

Each player minimises a mean over its samples. x is the critic's score of a sample: a logit where
D = sigmoid(x) is spoken of, a height in the Wasserstein game.

| game | critic, of real x | critic, of generated x | generator, of generated x | paper |
|---|---|---|---|---|
{table_rows((g.title, g.f_real, g.f_fake, g.f_gen, g.paper) for g in GAMES.values())}

WGAN needs a critic of bounded slope: "wgan" clips its weights after each step, "wgan-gp" adds the
penalty 10 E[(‖∇x D(x)‖ - 1)²] between real and generated samples. R1 adds γ/2 E[‖∇x D(x)‖²] at real
ones.
"""


def _costs(vanishing: Vanishing) -> str:
    near = torch.tensor([0.01], dtype=torch.float64)
    slopes = {game: abs(float(slope)) for game, (_, slope) in generator_costs(near, COSTS).items()}
    flat = [game for game in COSTS if slopes[game] < 0.05]
    steep = [game for game in COSTS if slopes[game] > 0.5]
    values = ", ".join(f"{spoken(game)} {slopes[game]:.2g}" for game in COSTS)
    minimax, other = (vanishing.norms[game] for game in ("minimax", "nonsaturating"))
    first, last = vanishing.steps[0], vanishing.steps[-1]
    return f"""## Slow convergence: the generator's cost

![the three generator costs and their slopes](generator_costs.png)

Right, what the generator's gradient is multiplied by: the slope of its cost in the critic's logit.
At D(G(z)) = 0.01, a sample that the critic is sure of, it is {values}: flat for
{listed(flat)}, steep for {listed(steep)}. Where the critic is ahead of its generator, most samples
are there.

![the generator's gradient as the critic gets ahead](vanishing.png)

A critic is trained against a generator that stands still. From step {first} to step {last} the
mean D(G(z)) goes from {vanishing.d_of_fake[0]:.2g} to {vanishing.d_of_fake[-1]:.2g}. The gradient
that minimax would give the generator is {_change(minimax)} in the end, at {minimax[-1]:.2g}, and
the non-saturating one {_change(other)}, at {other[-1]:.2g}.
"""


def _change(values: Sequence[float]) -> str:
    ratio = values[-1] / values[0]
    return f"{1 / ratio:.3g} times weaker" if ratio < 1 else f"{ratio:.3g} times as strong"


def _ring(points: Mapping[str, Sequence[Played]]) -> str:
    return f"""## Mode collapse, and a cure

Eight Gaussians on a ring, {seeds_of(points)} seeds each. A mode counts if a fifth of its fair
share of the samples is there; "at a mode" is the share of samples within three standard deviations
of one, and the rest is over-generalisation: samples where there is no data.

![samples on the ring](ring.png)

| game | CPU seconds | modes of 8, each seed | modes | at a mode |
|---|---|---|---|---|
{table_rows(_ring_cells(row, runs) for row, runs in points.items())}

{_collapse(points)}
"""


def _ring_cells(row: str, runs: Sequence[Played]) -> tuple[str, ...]:
    judged = [run.judged for run in runs]
    each = ", ".join(f"{run.judged['modes']:.0f}" for run in runs)
    return row, f"{mean(run.seconds for run in runs):.1f}", each, *cells(_MODES, judged)


def _collapse(points: Mapping[str, Sequence[Played]]) -> str:
    """Who collapsed, and who did not."""
    said: dict[str, list[str]] = {"collapsed": [], "astray": [], "whole": [], "rest": []}
    for row, runs in points.items():
        modes = [run.judged["modes"] for run in runs]
        if max(run.judged["at_mode"] for run in runs) < 0.2:
            said["astray"].append(row)
        elif max(modes) <= 4:
            said["collapsed"].append(row)
        else:
            said["whole" if min(modes) >= 7 else "rest"].append(row)
    words = {
        "collapsed": "Half of the modes or more are missing in every seed of {}.",
        "astray": "Hardly a sample is at any mode in {}: no collapse, but no convergence.",
        "whole": "At least seven are found in every seed of {}.",
        "rest": "It depends on the seed, or some modes are missing, in {}.",
    }
    texts = [words[kind].format(listed(rows)) for kind, rows in said.items() if rows]
    cured = [row for row in said["astray"] + said["collapsed"] if f"{row} + R1" in said["whole"]]
    if cured:
        texts.append(
            f"With R1, and nothing else changed, {listed(cured)} "
            f"{'finds' if len(cured) == 1 else 'find'} them: a critic that is flat around real "
            "samples no longer chases the generator from mode to mode."
        )
    return " ".join(texts)


_MODES = ("modes", "at_mode")
_IMAGES = tuple(name for name in COLUMNS if name not in _MODES)


def _digits(facts: Facts) -> str:
    games, images = facts.games, _IMAGES
    seconds = [run.seconds for runs in games.values() for run in runs]
    floor = [("real digits", "-", "-", *cells(images, facts.floors))]
    noise = [("noise", "-", "-", *cells(images, [facts.noise]))]
    rows = [
        (
            row,
            str(runs[0].steps),
            f"{mean(run.seconds for run in runs):.1f}",
            *cells(images, [run.judged for run in runs]),
        )
        for row, runs in games.items()
    ]
    names = [COLUMNS[name][0] for name in images]
    classifier = facts.classifier
    return f"""## Four games on real digits, at equal time

scikit-learn's 1,797 handwritten digits of 8x8 pixels, {seeds_of(games)} seeds each,
{min(seconds):.0f} to {max(seconds):.0f} CPU seconds for each run.

| game | generator steps | CPU seconds | {" | ".join(names)} |
|---|---|---|{"---|" * len(names)}
{table_rows([*floor, *rows, *noise])}

All is seen by a small classifier of these digits, right on {classifier.accuracy:.1%} of
{classifier.held_out} that it had not learned, and taken against the quarter of the digits that is
held out from the games; it compares these rows with each other, not with published figures. Every
row has as many samples. "real digits" are such as were learned from.

* FID: the distance between two Gaussians that the features are taken for; lower is better. It sees
  what is missing inside a class.
* IS: the Inception Score, 10 at most: recognisable, and of every class. It sees nothing inside one.
* precision: the share of samples where real ones are. What is missing to 1 is over-generalisation;
  so is "far", the share farther from all real ones than 95 % of real ones are from the next.
* recall and coverage: the share of real digits where samples are. What is missing to 1 is mode
  collapse; between classes alone it is class KL.

{_compared(facts)}

Real digits, then a run of each game:

![real digits](real.png)

{_pictures(games)}
"""


def _compared(facts: Facts) -> str:
    """Which differences are larger than what a seed makes, and which problems there are."""

    def each(name: str) -> dict[str, list[float]]:
        return {row: [run.judged[name] for run in runs] for row, runs in facts.games.items()}

    fids, precisions, class_kl = map(each, ("fid", "precision", "class_kl"))
    order = sorted(fids, key=lambda row: mean(fids[row]))
    apart = [
        f"{one} and {other}"
        for one, other in itertools.pairwise(order)
        if max(fids[one]) < min(fids[other])
    ]
    worst = max(map(max, fids.values())) / facts.floor
    failed = [row for row in order if min(fids[row]) > 0.2 * facts.noise["fid"]]
    outside = [1 - mean(values) for values in precisions.values()]
    real = 1 - mean(judged["precision"] for judged in facts.floors)
    uneven = [row for row in order if max(class_kl[row]) >= A_CLASS_LESS]
    texts = [
        f"By mean FID: {', '.join(order)}.",
        f"Every seed of one is better than every seed of the next between {listed(apart)}; other "
        "neighbours are no further apart than their seeds."
        if apart
        else "No two neighbours are further apart than their seeds.",
        f"Real digits have FID {facts.floor:.1f}; the worst run is at {worst:.1f} times that.",
        f"**Failed**: {listed(failed)}." if failed else "",
        f"Over-generalisation: {min(outside):.0%} to {max(outside):.0%} of a game's samples lie "
        f"outside of the real ones, of real digits {real:.0%}.",
        f"A class is missing, or they are as uneven as that, in {listed(uneven)}."
        if uneven
        else "No class is missing in any run.",
    ]
    return " ".join(filter(None, texts))


def _pictures(games: Mapping[str, Sequence[Played]]) -> str:
    parts = []
    for row, runs in games.items():
        folder = runs[0].folder
        sheet = folder.rpartition("-")[0]
        parts.append(
            f"{row}:\n\n![samples of {row}]({sheet}.png)\n\n![log of {row}]({folder}/losses.png)"
        )
    return "\n\n".join(parts)


def _stopping(runs: Sequence[Played]) -> str:
    header = "run | distance | estimate | loss | would have stopped at | and kept | FID there"
    return f"""## When to stop

At each evaluation a fresh critic with WGAN-GP's penalty is fitted to one half of the held-out
digits, in the features of the classifier, and its estimate of the Wasserstein distance read on the
other half ([1705.05263](https://arxiv.org/abs/1705.05263)): it takes no part in the game. Beside it
are the estimate and the loss of the critic that does.

![what could say when to stop, over FID](stopping.png)

Rank correlations with FID over the evaluations of one run (1: it tells exactly when samples get
better), and what `--patience {PATIENCE}` would have done:

| {header} | best FID | FID at the end |
|{"---|" * 9}
{table_rows(_stopping_cells(run) for run in runs)}

{_stopped(runs)}
"""


def _stopping_cells(run: Played) -> tuple[str, ...]:
    steps, fids, stop, best = _would_have(run)
    correlations = [
        f"{rank_correlation(*over_fid(run, name)):.2f}" if series(run.lines, name)[0] else "-"
        for name in ("distance", "wasserstein", "critic_loss")
    ]
    least = min(range(len(fids)), key=fids.__getitem__)
    return (
        run.row,
        *correlations,
        "never" if stop is None else f"step {steps[stop]}",
        f"step {steps[best]}",
        f"{fids[best]:.0f}",
        f"{fids[least]:.0f} at step {steps[least]}",
        f"{fids[-1]:.0f} at step {steps[-1]}",
    )


def _would_have(run: Played) -> tuple[list[int], list[float], int | None, int]:
    """(steps, FIDs) of the evaluations, and at which of them patience would have stopped (None:
    never), which kept."""
    stop, best = stopped_at(series(run.lines, "distance")[1], PATIENCE)
    return *series(run.lines, "fid"), stop, best


def _stopped(runs: Sequence[Played]) -> str:
    """Whether the distance did what it is for."""
    good = [run.row for run in runs if rank_correlation(*over_fid(run, "distance")) >= 0.9]
    poor = [run.row for run in runs if run.row not in good]
    texts = []
    if good:
        texts.append("The independent critic's distance ranks the evaluations as FID does, or "
                     f"nearly (0.9 at least), in {listed(good)}.")  # fmt: skip
    if poor:
        texts.append(f"It is less sure of that in {listed(poor)}.")
    for run in runs:
        steps, fids, stop, best = _would_have(run)
        if stop is not None and stop < len(steps) - 1:
            saved = 1 - steps[stop] / steps[-1]
            texts.append(
                f"With {spoken(run.row)}, patience would have saved {saved:.0%} of the steps and "
                f"kept FID {fids[best]:.0f}, where the end has {fids[-1]:.0f}."
            )
    return " ".join(texts)
