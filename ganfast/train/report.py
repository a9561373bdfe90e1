"""The demo's table and its report: what came out, in words that follow from the numbers."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ganfast.train.classifier import Score, TrainedClassifier
from ganfast.train.pictures import series
from ganfast.train.run import Run

Vanishing = tuple[list[int], dict[str, list[float]]]  # as vanishing_gradients gives it
HEADER = f"{'game':<14}{'seconds':>9}{'FID':>9}{'Inception Score':>20}"

ABOUT = {
    "minimax": """
The generator minimises log(1 - D(G(z))), which is flat where the critic rejects a sample: the
better the critic, the less the generator is told.""",
    "nonsaturating": """
The generator minimises -log D(G(z)), which is steep exactly where the critic rejects a sample.""",
    "wgan": """
The critic estimates the earth mover's distance. Clipping its weights keeps it Lipschitz, and makes
it a very simple function too.""",
    "wgan-gp": """
The critic's slope is held near 1 by the gradient penalty, instead of by clipping.""",
}


@dataclass
class Row:
    """One line of the table. ``seconds`` is None where nothing was trained."""

    name: str
    seconds: float | None
    score: Score

    def cells(self) -> tuple[str, str, str, str]:
        """Name, seconds, FID and Inception Score as text."""
        seconds = "-" if self.seconds is None else f"{self.seconds:.1f}"
        score = f"{self.score.score:.2f} +- {self.score.score_std:.2f}"
        return self.name, seconds, f"{self.score.fid:.1f}", score

    def line(self) -> str:
        """Aligned under ``HEADER``."""
        name, seconds, fid, score = self.cells()
        return f"{name:<14}{seconds:>9}{fid:>9}{score:>20}"


def write(
    rows: list[Row],
    runs: dict[str, Run],
    vanishing: Vanishing,
    classifier: TrainedClassifier,
    seed: int,
    seconds: float,
) -> str:
    """``report.md``, which shows the pictures that lie beside it."""
    scores = {row.name: row.score for row in rows}
    steps = {name: str(run.config.steps) for name, run in runs.items()}
    return f"""# ganfast demo

Four GAN games on scikit-learn's 1,797 real handwritten digits (8x8 pixels). {seconds:.0f} seconds
in all on `{platform.machine()}`. CPU threads used: {torch.get_num_threads()}. Seed: {seed}.
Torch: {torch.__version__}.

| game | generator steps | seconds | FID | Inception Score |
|---|---|---|---|---|
{_lines(f"| {r.name} | {steps.get(r.name, '-')} | {' | '.join(r.cells()[1:])} |" for r in rows)}

FID (lower is better) and Inception Score (higher is better, 10 at most) are taken in the eyes of a
small classifier of these digits, right on {classifier.accuracy:.1%} of {classifier.held_out}
held-out ones. They compare the rows of this table with each other, not with published figures.
FID is taken against the quarter of the digits that is held out from training. "real digits" is as
many of those that the generators learned from: what one that remembers them would get, and the
floor for one that does not. Every row has as many samples.

{_ranking(scores, list(runs))}

Real digits:

![real digits](real.png)

## The games

{_lines(_section(game, scores) for game in runs)}
## Why the generator's cost matters

![the three generator costs](generator_costs.png)

Values by `ganfast.functional.generator_loss`, slopes by autograd through it. Near D(G(z)) = 0,
where a critic that is ahead of its generator puts every sample, minimax and maximum likelihood are
flat and the non-saturating cost is steep. What that does to training is below: a critic is trained
against a generator that stands still, and the gradient that either cost gives the generator is
measured on the way.

![the generator's gradient as the critic gets ahead](vanishing.png)

{_vanishing(*vanishing)}

## The Wasserstein estimate

![the Wasserstein estimate over time](wasserstein.png)

The critic's gap between real and generated samples is the earth mover's distance between them,
times the critic's Lipschitz constant (about 1 with the penalty, unknown with clipping: the two
scales do not compare), as far as the critic has learned to see it. {_estimates(runs)} Most of the
fall comes in the first few hundred steps. After that the critic learns about as fast as the
generator, and the curve flattens although the samples still get better: at this size it tells that
training works, not when to stop.
"""


def _ranking(scores: dict[str, Score], games: list[str]) -> str:
    """Who did well and who failed, from the scores alone."""
    floor, noise = scores["real digits"], scores["noise"]
    order = sorted(games, key=lambda game: scores[game].fid)
    failed = [game for game in order if _failed(scores[game], floor, noise)]
    text = f"From best to worst FID: {', '.join(order)}."
    if failed:
        return f"{text} Failed: {', '.join(failed)}."
    return f"{text} No game failed on this data."


def _failed(score: Score, floor: Score, noise: Score) -> bool:
    """Far from real digits in distance, or in how recognisable and diverse the samples are."""
    return score.fid > 0.2 * noise.fid or score.score < 0.5 * floor.score


def _section(game: str, scores: dict[str, Score]) -> str:
    floor, noise = scores["real digits"], scores["noise"]
    ratio = scores[game].fid / floor.fid
    judged = f"Its samples are {ratio:.1f} times as far from real digits as real digits are."
    if _failed(scores[game], floor, noise):
        judged = f"**It failed.** {judged}"
    return (
        f"### {game}\n{ABOUT[game]} {judged}\n\n"
        f"![samples of {game}]({game}.png)\n\n![losses of {game}]({game}/losses.png)\n"
    )


def _estimates(runs: dict[str, Run]) -> str:
    """From where to where each Wasserstein estimate went, as logged."""
    parts = []
    for game, run in runs.items():
        steps, values = series(run.lines, "wasserstein")
        if values:
            ends = f"{values[0]:.2f} (steps 1 to {steps[0]}) to {values[-1]:.2f}"
            parts.append(f"{game} went from {ends}")
    return f"Here {'; '.join(parts)}."


def _vanishing(steps: list[int], norms: dict[str, list[float]]) -> str:
    minimax, nonsaturating = norms["minimax"], norms["nonsaturating"]
    return (
        f"After {steps[-1]} critic steps the minimax gradient is {minimax[-1]:.2g}, "
        f"{minimax[0] / minimax[-1]:.3g} times weaker than after {steps[0]}; the non-saturating "
        f"one went from {nonsaturating[0]:.2g} to {nonsaturating[-1]:.2g}. A game in which "
        "both networks step in turn does not let its critic get this far ahead, so minimax can "
        "still learn: the table says how well it did here."
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)
