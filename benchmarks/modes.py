"""Which games find every mode of points in the plane: `python -m benchmarks.modes`.

    python -m benchmarks.modes [--seeds N] [--log FILE] [--out FILE] [NAME ...]

Each row is played in several seeds on one thread, and 2,500 samples of its average generator are
looked at: how many modes have a fifth of their fair share, and which share of samples is within
three standard deviations of one. The grid of 25 modes is played by the preset points; the ring of 8
with noise of 16 dimensions and momentum, with which games without a penalty collapse.

Prints a Markdown table; --out writes it with what the machine is (benchmarks/results has one that
was measured). --log gets a line of JSON for each run, and runs that it has are not played again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import machine, results
from benchmarks.report import table
from ganfast.train import TrainConfig
from ganfast.train.data import open_source
from ganfast.train.demo import RING
from ganfast.train.run import new_trainer
from ganfast.train.source import Mixture
from ganfast.train.watch import modes_of

SAMPLES = 2500


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone. ``modes`` and ``share`` are what is aimed at, or what a
    collapse stays below."""

    settings: Mapping[str, Any]
    seeds: int
    modes: int
    share: float
    collapses: bool = False

    def reached(self, found: Found) -> bool:
        """Whether a run is what the row is to show."""
        there = found.modes >= self.modes and found.share >= self.share
        return there is not self.collapses

    @property
    def aim(self) -> str:
        if self.collapses:
            return f"fewer than {self.modes} modes"
        return f"{self.modes} modes" + (f", {self.share:.0%}" if self.share else "")


@dataclass(frozen=True)
class Found:
    """What a run found; ``seconds`` are of one CPU thread, sampling included."""

    row: str
    seed: int
    modes: int
    share: float
    seconds: float


ROWS: dict[str, Row] = {
    "grid, nonsaturating + R1 + R2": Row(
        {"data": "grid", "preset": "points", "steps": 24_000}, 5, 25, 0.8
    ),
    "grid, wgan-gp": Row(
        {"data": "grid", "preset": "points", "game": "wgan-gp", "steps": 22_000}, 5, 24, 0.7
    ),
    # The demo's own: what collapses, and what cures it.
    **{
        row.name: Row(row.settings, 3, 8, 0.0, collapses="penalty" not in row.settings)
        for row in RING
    },
}


def play(name: str, seed: int) -> Found:
    """Train, sample, and count."""
    start = time.process_time()
    config = TrainConfig(**ROWS[name].settings, seed=seed)
    source = open_source(config)
    assert isinstance(source, Mixture)
    trainer = new_trainer(config, source)
    for _ in range(config.steps):
        trainer.step()
    modes, share = modes_of(source, trainer.sample(SAMPLES, seed + 1))
    return Found(name, seed, modes, round(share, 4), round(time.process_time() - start, 1))


def command(row: Row) -> str:
    """What makes such a run."""
    flags = (
        f"--{name.replace('_', '-')} {value}"
        for name, value in row.settings.items()
        if name not in ("log_every", "sample_every")
    )
    return f"`ganfast train {' '.join(flags)}`"


def cells(name: str, found: Sequence[Found]) -> list[str]:
    """Of the table."""
    row = ROWS[name]
    good = sum(map(row.reached, found))
    return [
        name,
        row.aim,
        f"{good} of {len(found)}",
        " ".join(str(one.modes) for one in found),
        " ".join(f"{one.share:.2f}" for one in found),
        f"{median(one.seconds for one in found):.0f} ({max(one.seconds for one in found):.0f})",
    ]


HEAD = ("run", "aim", "reached in", "modes, by seed", "share at a mode", "CPU s, median (most)")


def page(found: Sequence[Found], facts: Mapping[str, Any], date: str) -> str:
    """The table, and how to have it again."""
    names = [name for name in ROWS if any(one.row == name for one in found)]
    lines = [cells(name, [one for one in found if one.row == name]) for name in names]
    processor = f"{facts['cpu']} ({facts['architecture']})"
    return "\n".join(
        [
            f"# Modes found, on {facts['cpu']}, one thread",
            "",
            f"- machine: {processor}, {facts['cores']} cores, {facts['os']}",
            f"- software: Python {facts['python']}, torch {facts['torch']}",
            f"- measured on {date}; CPU seconds, which other programs that run lengthen too",
            "- again: `python -m benchmarks.modes --out FILE`",
            "",
            f"{SAMPLES:,} samples of the average generator; a mode counts with a fifth of its fair "
            "share of them, and a sample is at one within three standard deviations.",
            "",
            *table(HEAD, lines, 3),
            "",
            *(f"- {name}: {command(ROWS[name])}" for name in names),
            "",
        ]
    )


def logged(path: Path | None) -> list[Found]:
    """The runs that ``path`` has."""
    if path is None or not path.is_file():
        return []
    return [Found(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Which games find every mode?")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a row; all without one")
    parser.add_argument("--seeds", type=int, default=5, help="of each row at most")
    parser.add_argument("--log", type=Path, help="a file for the runs, a line of JSON each")
    parser.add_argument("--out", type=Path, help="a file for the table")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in ROWS]:
        parser.error(f"NAME: got {unknown[0]!r}; give one of {', '.join(map(repr, ROWS))}")
    torch.set_num_threads(1)
    found = logged(arguments.log)
    known = {(one.row, one.seed) for one in found}
    for seed, name in itertools.product(range(arguments.seeds), arguments.names or ROWS):
        if (name, seed) in known or seed >= ROWS[name].seeds:
            continue
        found.append(play(name, seed))
        print(found[-1], flush=True)
        if arguments.log:
            with arguments.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(found[-1])) + "\n")
    text = page(found, machine.facts(1), time.strftime("%Y-%m-%d"))
    print(text)
    if arguments.out:
        results.write(arguments.out, text)


if __name__ == "__main__":
    main()
