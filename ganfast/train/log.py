"""What a run records: means on the device, lines in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast._atomic_file import write_atomically
from ganfast.errors import DivergedError
from ganfast.train.environment import need

TENSORBOARD = "tensorboard"
MOST_KEPT = 4096  # values of a mean: 2 MB on a GPU


class Meter:
    """Means of scalars since the last ``take``. These stay where they are, on the device, and are
    added up only when somebody asks: to read one in every step would wait for it every step."""

    def __init__(self) -> None:
        self.values: dict[str, list[Tensor]] = {}
        self.counts: dict[str, int] = {}
        self._sums: dict[str, float] = {}

    def add(self, **values: Tensor) -> None:
        """Add scalar tensors, by name; their graphs are dropped."""
        for name, value in values.items():
            kept = self.values.setdefault(name, [])
            kept.append(value.detach())
            self.counts[name] = self.counts.get(name, 0) + 1
            if len(kept) == MOST_KEPT:
                self._add_up()

    def _add_up(self) -> None:
        """In one transfer, and one after the other, so that it is no matter how often."""
        kept = [value for values in self.values.values() for value in values]
        read = iter(torch.stack(kept).tolist() if kept else ())
        for name, values in self.values.items():
            for value in islice(read, len(values)):
                self._sums[name] = self._sums.get(name, 0.0) + value
        self.values = {}

    @property
    def sums(self) -> dict[str, Tensor]:
        """The sum of each so far, float64 on the CPU."""
        self._add_up()
        return {name: torch.tensor(x, dtype=torch.float64) for name, x in self._sums.items()}

    @sums.setter
    def sums(self, sums: Mapping[str, Tensor]) -> None:
        self.values, self._sums = {}, {name: float(x) for name, x in sums.items()}

    def take(self) -> dict[str, float]:
        """The mean of each, and start again."""
        self._add_up()
        means = {name: total / self.counts[name] for name, total in self._sums.items()}
        self.counts, self._sums = {}, {}
        return means


class Log:
    """One JSON object per line, written out at once; with no ``path`` they are only kept. A resumed
    run begins with the ``lines`` up to the step that it resumes from. With ``settings``, those of
    the run, all goes to TensorBoard's event files as well, in a folder beside ``path``."""

    def __init__(
        self,
        path: Path | None,
        lines: Iterable[dict[str, Any]] = (),
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._path, self._settings = path, settings
        self._board: Any = None
        self._begin(lines)

    def _begin(self, lines: Iterable[dict[str, Any]]) -> None:
        self.lines, path = list(lines), self._path
        self.shown: int | None = None  # the step whose picture came last
        if path is None:
            return
        text = "".join(f"{json.dumps(line)}\n" for line in self.lines)
        write_atomically(path, "out", lambda file: file.write(text.encode()), one_writer=True)
        self._file = path.open("a", encoding="utf-8")  # noqa: SIM115 (open until close())
        if self._settings is not None:
            writer = need("torch.utils.tensorboard").SummaryWriter
            step = self.lines[-1]["step"] + 1 if self.lines else 0
            self._board = writer(str(path.parent / TENSORBOARD), purge_step=step)
            plain = {name: _plain(value) for name, value in self._settings.items()}
            self._board.add_hparams(plain, {}, run_name=".")

    def write(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        if self._path is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        if self._board is not None:
            for name in line.keys() - {"step"}:
                self._board.add_scalar(name, line[name], line["step"])
            self._board.flush()

    def show(self, picture: Path, step: int) -> None:
        """Give TensorBoard the samples after ``step`` steps, which are in the file ``picture``."""
        self.shown = step
        if self._board is not None:
            with need("PIL.Image").open(picture) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._board.add_image("samples", pixels, step, dataformats="HWC")
            self._board.flush()

    def cut(self, last_step: int) -> None:
        """Forget what came after ``last_step``."""
        self.close()
        self._begin(line for line in self.lines if line["step"] <= last_step)

    def close(self) -> None:
        if self._path is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _plain(value: Any) -> Any:
    """``value`` as TensorBoard takes a setting."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def read_log(path: Path, last_step: int) -> list[dict[str, Any]]:
    """The lines of a run's log up to ``last_step``; none if it has no log. A line cut short by a
    crash ends it."""
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        if line["step"] > last_step:
            break
        lines.append(line)
    return lines


def check_finite(line: dict[str, float]) -> dict[str, float]:
    """``line``, a log line; raises DivergedError if a value of it is NaN or infinite, or all critic
    steps were skipped for that."""
    if line.get("skipped") and "critic_loss" not in line:
        raise DivergedError(
            f"every critic step since the last log line was skipped at step {line['step']}: lower "
            "lr, or look at the data"
        )
    broken = [name for name, value in line.items() if not math.isfinite(value)]
    if broken:
        raise DivergedError(
            f"{', '.join(broken)} {'is' if len(broken) == 1 else 'are'} no longer finite at step "
            f"{line['step']}: lower lr; a checkpoint that is there is from before"
        )
    return line
