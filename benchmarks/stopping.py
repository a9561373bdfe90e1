"""Does the watch stop a run where its FID turns?

    python -m benchmarks.stopping [--out FILE] [NAME ...]

Runs on scikit-learn's digits with small networks, each of which gets worse again for a reason of
its own, in SEEDS seeds. At every evaluation the distance by the independent critic is taken, and
the FID against held-out digits; then it is asked what patience would have done by the distance. The
distance is of features of the digit classifier, so the FID is of another one's, which was trained
from another seed on other digits: a rule is not to be judged by its own eyes. Prints a Markdown
table (docs/stopping.md has one that was measured); FILE gets a line of JSON for each run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganfast.linalg import frechet_distance
from ganfast.metrics import moments
from ganfast.train import TrainConfig
from ganfast.train.classifier import train_classifier
from ganfast.train.data import digits
from ganfast.train.run import new_trainer
from ganfast.train.source import Few
from ganfast.train.watch import Watch, rank_correlation, stopped_at

WIDTH, PATIENCE = 16, 4
EVALUATIONS = 16
SEEDS = 2
ANOTHER = 1  # seed of the classifier whose features the FID is of; the watch has that of seed 0


@dataclass(frozen=True)
class Case:
    """A run of EVALUATIONS times ``every`` steps on ``images`` digits, or all."""

    name: str
    settings: dict[str, Any]
    every: int
    images: int | None = None


_BARE = {"norm_g": "none", "norm_d": "none"}
CASES = (
    Case("nonsaturating, rate 1e-2", {"game": "nonsaturating", "lr": 1e-2, **_BARE}, 120),
    Case("minimax, rate 5e-3", {"game": "minimax", "lr": 5e-3, **_BARE}, 130),
    Case("hinge, rate 3e-2", {"game": "hinge", "lr": 3e-2, "n_critic": 1}, 60),
    Case(
        "nonsaturating, 30 digits", {"game": "nonsaturating", "lr": 2e-3, "norm_d": "none"}, 60, 30
    ),
    Case(
        "nonsaturating + R1, 30 digits",
        {"game": "nonsaturating", "lr": 2e-3, "penalty": "r1"},
        60,
        30,
    ),
    Case("wgan-gp, 30 digits", {"game": "wgan-gp", "n_critic": 2, "lr": 2e-3}, 50, 30),
)


@dataclass(frozen=True)
class Series:
    """What was measured of one run, and the CPU seconds it took."""

    name: str
    seed: int
    steps: list[int]
    fids: list[float]
    distances: list[float]
    fits: list[float]
    own: list[float]  # FIDs in the eyes that the distance has
    seconds: float


def follow(case: Case, seed: int) -> Series:
    """Train, and look on."""
    start = time.process_time()
    config = TrainConfig(width=WIDTH, threads=1, seed=seed, **case.settings)
    source = digits() if case.images is None else Few(digits(), case.images)
    trainer = new_trainer(config, source)
    watch = Watch(trainer, case.every, PATIENCE, seed=seed, judge_with="digits")
    found = Series(case.name, seed, [], [], [], [], [], 0.0)
    for _ in range(EVALUATIONS):
        for _ in range(case.every):
            trainer.step()
        measured = watch.evaluate(trainer.steps_done)
        found.steps.append(trainer.steps_done)
        found.fids.append(fid(watch.held_out, trainer.sample(len(watch.held_out), seed)))
        found.distances.append(measured["distance"])
        found.fits.append(measured["distance_fit"])
        found.own.append(measured["fid"])
    return Series(**{**vars(found), "seconds": time.process_time() - start})


@torch.no_grad()
def fid(held_out: Tensor, samples: Tensor) -> float:
    """In the eyes of the classifier that the distance has no part in."""
    features = train_classifier(seed=ANOTHER).model.features
    return float(frechet_distance(*moments(features(held_out)), *moments(features(samples))))


def apart(one: Series, values: Sequence[float]) -> int:
    """How many evaluations the weights that patience keeps by ``values`` come after the best."""
    return stopped_at(values, PATIENCE)[1] - min(range(len(one.fids)), key=one.fids.__getitem__)


def near(found: Sequence[Series]) -> str:
    """In how many runs those are next to each other, in a sentence."""
    by_distance = sum(abs(apart(one, one.distances)) <= 1 for one in found)
    by_fid = sum(abs(apart(one, one.own)) <= 1 for one in found)
    return (
        f"One evaluation apart at most: {by_distance} of {len(found)} runs by the distance, "
        f"{by_fid} by the FID in the same eyes (--best-by fid)."
    )


def row(one: Series) -> tuple[str, ...]:
    """Its line of the table."""
    stop, kept = stopped_at(one.distances, PATIENCE)
    best = min(range(len(one.fids)), key=one.fids.__getitem__)
    return (
        f"{one.name}, seed {one.seed}",
        f"{rank_correlation(one.distances, one.fids):.2f}",
        f"{one.fids[best]:.0f} at {one.steps[best]}",
        f"{one.fids[kept]:.0f} at {one.steps[kept]}",
        f"{apart(one, one.distances):+d}",
        "never" if stop is None else str(one.steps[stop]),
        f"{one.fids[-1]:.0f} at {one.steps[-1]}",
    )


HEADER = (
    *("run", "rank correlation", "best FID, step", "FID kept, step"),
    *("evaluations apart", "stopped at", "FID at the end, step"),
)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Does the watch stop a run where its FID turns?")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a run; all without one")
    parser.add_argument("--out", type=Path, help="a file for the series, a line of JSON each")
    arguments = parser.parse_args()
    known = [case.name for case in CASES]
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"NAME: got {unknown[0]!r}; give one of {', '.join(map(repr, known))}")
    torch.set_num_threads(1)
    chosen = [case for case in CASES if case.name in (arguments.names or known)]
    found = []
    for case, seed in itertools.product(chosen, range(SEEDS)):
        found.append(follow(case, seed))
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(vars(found[-1])) + "\n")
    print(table(map(row, found)), near(found), sep="\n\n")


if __name__ == "__main__":
    main()
