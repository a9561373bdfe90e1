"""What a training run is asked to do, checked before anything starts."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path

from ganfast.errors import InputError
from ganfast.train.recipe import RECIPES, Recipe

DATA = ("digits", "ring", "grid", "folder:PATH")


@dataclass
class TrainConfig:
    """Settings of one run. ``None`` means the game's own default (see ``recipe.py``), or as the
    comment says.

    Raises InputError, one line naming the field, for a value that can't work.
    """

    game: str = "nonsaturating"  # minimax, nonsaturating, wgan or wgan-gp
    data: str = "digits"  # digits, ring, grid or folder:PATH
    steps: int = 2000  # generator steps
    batch_size: int = 64
    n_critic: int | None = None  # critic steps before each generator step
    clip: float | None = None  # wgan only: bound of every critic weight
    penalty_weight: float | None = None  # wgan-gp only
    label_smoothing: float = 0.0  # the real target becomes 1 - this; minimax and nonsaturating only
    lr: float | None = None
    latent_dim: int = 16  # length of the noise vector
    width: int = 32  # channels of the networks' narrowest layer; an MLP has four times as many
    image_size: int = 32  # folder:PATH only: images become image_size x image_size, a power of two
    seed: int = 0
    out: str | Path = "runs/train"
    overwrite: bool = False  # start afresh in a folder that already holds a run
    resume: str | Path | None = None  # folder of a run to continue
    device: str = "cpu"
    threads: int | None = None  # CPU threads; None leaves torch's own setting
    sample_every: int = 500  # steps between sample pictures, 0 for none but the last
    checkpoint_every: int = 500  # steps between checkpoints, 0 for none but the last
    log_every: int = 50  # steps between log lines, each a mean over them
    progress: bool = True  # a progress bar on stderr, where that is a terminal

    def __post_init__(self) -> None:
        if self.game not in RECIPES:
            raise InputError(f"game must be one of {', '.join(RECIPES)}, got {self.game!r}")
        kind, _, path = self.data.partition(":")
        if not (self.data in DATA[:3] or (kind == "folder" and path)):
            raise InputError(f"data must be one of {', '.join(DATA)}, got {self.data!r}")
        for name in ("steps", "batch_size", "latent_dim", "width", "log_every"):
            self._check_integer(name, least=1)
        for name in ("seed", "sample_every", "checkpoint_every"):
            self._check_integer(name, least=0)
        for name in ("n_critic", "threads"):
            if getattr(self, name) is not None:
                self._check_integer(name, least=1)
        for name in ("lr", "clip", "penalty_weight"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number, got {value}")
        if self.batch_size == 1:
            raise InputError("batch_size must be at least 2 (the generator has batch norm), got 1")
        size = self.image_size
        if not isinstance(size, int) or size < 8 or size & (size - 1):
            raise InputError(f"image_size must be a power of two from 8 up, got {size}")
        self._check_only_for("clip", "wgan")
        self._check_only_for("penalty_weight", "wgan-gp")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if self.label_smoothing and RECIPES[self.game].loss == "wasserstein":
            raise InputError(
                f"label_smoothing has no meaning in the game {self.game!r}: leave it at 0"
            )
        self._check_device()

    def _check_integer(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")

    def _check_only_for(self, name: str, game: str) -> None:
        if getattr(self, name) is not None and self.game != game:
            raise InputError(
                f"{name} is a setting of the game {game!r}: leave it out for {self.game!r}"
            )

    def _check_device(self) -> None:
        import torch  # seconds, which the settings above and their mistakes don't need

        try:
            torch.empty(0, device=self.device)
        except (
            RuntimeError,
            AssertionError,
        ) as error:  # torch built without CUDA raises AssertionError
            reason = str(error).splitlines()[0]
            raise InputError(
                f"device {self.device!r} can't be used ({reason}): try 'cpu'"
            ) from None

    def recipe(self) -> Recipe:
        """The game's recipe, with this run's own values in place of its defaults."""
        recipe = RECIPES[self.game]
        if recipe.penalty_weight is not None and self.data in ("ring", "grid"):
            # The paper's own weight for toy data: 10 makes the critic too smooth for narrow modes.
            recipe = dataclasses.replace(recipe, penalty_weight=0.1)
        own = {name: getattr(self, name) for name in ("lr", "n_critic", "clip", "penalty_weight")}
        return dataclasses.replace(recipe, **{k: v for k, v in own.items() if v is not None})

    def prepare_out(self) -> Path:
        """Make the folder ``out`` and prove that it can be written, before any time is spent on
        training."""
        out = Path(self.out)
        try:
            out.mkdir(parents=True, exist_ok=True)
            probe = out / ".writable"
            probe.write_bytes(b"")
            os.remove(probe)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(
                f"out: can't write to {str(out)!r} ({reason}); choose another folder"
            ) from None
        return out
