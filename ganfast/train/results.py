"""What the demo found: its runs, and cells and words for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from ganfast.train.classifier import TrainedClassifier
from ganfast.train.generator_cost import Vanishing
from ganfast.train.pictures import series

COLUMNS = {
    "fid": ("FID", 1),
    "inception_score": ("IS", 2),
    "precision": ("precision", 2),
    "recall": ("recall", 2),
    "density": ("density", 2),
    "coverage": ("coverage", 2),
    "far": ("far", 2),
    "class_kl": ("class KL", 3),
    "modes": ("modes", 1),
    "at_mode": ("at a mode", 2),
}
"""What judges are called in tables, and their decimals."""

ON_TERMINAL = ("fid", "inception_score", "precision", "recall", "coverage")
HEADER = f"{'row':<26}{'CPU s':>7}" + "".join(f"{COLUMNS[name][0]:>16}" for name in ON_TERMINAL)

Judged = Mapping[str, float]


@dataclass(frozen=True)
class Played:
    """What became of one run: of the row ``row`` of the demo, in the folder ``folder``. ``seconds``
    are CPU seconds of training, without evaluations; ``judged`` is by the last weights."""

    row: str
    folder: str
    steps: int
    seconds: float
    judged: dict[str, float]
    samples: npt.NDArray[np.float32]
    lines: list[dict[str, Any]]

    @property
    def title(self) -> str:
        """The row's name where all that stands beside it learned the same."""
        return self.row.removeprefix("ring, ").replace("_", " ")

    @property
    def is_points(self) -> bool:
        """Whether it learned points in the plane."""
        return self.samples.ndim == 2


def over_fid(run: Played, name: str) -> tuple[list[float], list[float]]:
    """(FIDs, values) of one quantity of the log at the evaluations, in the order of steps."""
    steps, fids = series(run.lines, "fid")
    at, values = series(run.lines, name)
    known = dict(zip(at, values, strict=True))
    return fids, [known[step] for step in steps]


@dataclass
class Facts:
    """All that the report is made from. ``floors`` are real digits that were learned from, judged;
    ``found`` the runs of each row."""

    floors: Sequence[Judged]
    noise: Judged
    found: Mapping[str, Sequence[Played]]
    vanishing: Vanishing
    classifier: TrainedClassifier
    seed: int
    seconds: float

    @property
    def points(self) -> dict[str, Sequence[Played]]:
        """The rows of the ring."""
        return {runs[0].title: runs for runs in self.found.values() if runs[0].is_points}

    @property
    def games(self) -> dict[str, Sequence[Played]]:
        """The rows of the digits that are compared with each other, each in several seeds."""
        images = {row: runs for row, runs in self.found.items() if not runs[0].is_points}
        return {row: runs for row, runs in images.items() if len(runs) > 1}

    @property
    def watched(self) -> list[Played]:
        """The runs on digits that were evaluated on the way."""
        images = [runs[0] for runs in self.found.values() if not runs[0].is_points]
        return [run for run in images if len(series(run.lines, "fid")[0]) > 1]

    @property
    def floor(self) -> float:
        """The FID of real digits that were learned from."""
        return mean(judged["fid"] for judged in self.floors)


def cell(name: str, judged: Sequence[Judged]) -> str:
    """Mean and standard deviation over runs, as text."""
    values, digits = [one[name] for one in judged if name in one], COLUMNS[name][1]
    if not values:
        return "-"
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def line(row: str, judged: Sequence[Judged], seconds: Sequence[float]) -> str:
    """Of the terminal's table, aligned under ``HEADER``; of points, the modes instead."""
    time = f"{mean(seconds):.1f}" if seconds else "-"
    start = f"{row:<26}{time:>7}"
    if "modes" in judged[0]:
        names = ("modes", "at_mode")
        return start + "  " + ", ".join(f"{COLUMNS[n][0]} {cell(n, judged)}" for n in names)
    return start + "".join(f"{cell(name, judged):>16}" for name in ON_TERMINAL)


def cells(names: Iterable[str], judged: Sequence[Judged]) -> list[str]:
    """A cell for each name."""
    return [cell(name, judged) for name in names]


def table_rows(rows: Iterable[Sequence[str]]) -> str:
    """Of a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def seeds_of(rows: Mapping[str, Sequence[Played]]) -> int:
    """How many runs a row has."""
    return max(len(runs) for runs in rows.values())


def spoken(game: str) -> str:
    """The name in a sentence."""
    return game.replace("_", " ")


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    texts = [spoken(name) for name in names]
    return ", ".join(texts[:-1]) + f" and {texts[-1]}" if len(texts) > 1 else "".join(texts)
