"""How a game is trained, and what a run is asked to do: checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganfast import _checks
from ganfast._options import check, documented, option
from ganfast.errors import InputError
from ganfast.metrics.choices import EXTRACTORS
from ganfast.train.game_options import PENALTY_CHOICES, GameOptions
from ganfast.train.recipe import PRESETS

if TYPE_CHECKING:
    from ganfast.train.speed import Speed

PRECISIONS = ("fp32", "bf16")

MAY_CHANGE = frozenset(
    ("steps", "out", "overwrite", "resume", "on_error", "threads", "progress")
    + ("sample_every", "checkpoint_every", "log_every", "watch_every", "watch_with")
    + ("patience", "on_nan", "keep", "tensorboard", "compile", "channels_last", "capture")
)
"""The settings that a resumed run may have other values of, and still be the same run."""

OF_ONE_CALL = frozenset(("out", "overwrite", "resume", "progress"))
"""Those of them that a run has no memory of."""


@documented
@dataclass
class TrainConfig(GameOptions):
    """Settings of one run; the flags of ``ganfast train`` are these fields.

    {options}

    Raises:
        InputError: a value that can't work, in one line that names the field.
    """

    seed: int = option(0, "the same seed on the same machine gives the same run", least=0)
    out: str | Path = option(
        "runs/train", "folder for the log, the pictures and the checkpoint", metavar="DIR"
    )
    overwrite: bool = option(False, "start afresh in a folder that already holds a run")
    resume: str | Path | None = option(
        None,
        "folder of a run to continue, or one of its kept checkpoints, with the settings it had",
        metavar="DIR",
    )
    # Named are those that are tested; whether another of torch's is there, only torch knows.
    device: str = option(
        "cpu",
        "where it is trained: {choices}",
        choices=("cpu", "cuda"),
        form="cuda:N",
        pattern=r"[a-z]+(:\d+)?",
    )
    threads: int | None = option(None, "CPU threads", least=1, unset="torch's own choice")
    compile: bool = option(
        False, "compile the networks by torch.compile: a minute at the start, then faster on a GPU"
    )
    precision: str = option(
        "fp32",
        "of the networks: {choices} (bf16: under autocast; losses and penalties stay in float32)",
        choices=PRECISIONS,
    )
    channels_last: bool = option(
        False, "images only: the layout that convolutions are fastest in, on GPUs and in bf16"
    )
    merge: bool = option(
        False,
        "score real and generated samples in one pass: fewer and larger operations; not with batch "
        "or spectral norm in the critic, which see whole batches, or with r1 or r2 in a step",
    )
    capture: bool = option(
        False,
        "on a GPU: each critic and generator step is one CUDA graph, which spares a small network "
        "most of its time; the same samples and the same run to round-off; not with compile, "
        "grow_from, on_nan 'skip' or several processes",
    )
    sample_every: int = option(
        500, "steps between sample pictures, 0 for none but the last", least=0
    )
    checkpoint_every: int = option(
        500, "steps between checkpoints, 0 for none but the last", least=0
    )
    keep: int = option(
        1,
        "how many checkpoints stay: the last ones lie in checkpoints/ as well, and --resume takes "
        "one of those files too",
        least=1,
    )
    tensorboard: bool = option(
        False, "write what is logged for TensorBoard too (pip install tensorboard)"
    )
    log_every: int = option(50, "steps between log lines, each a mean over them", least=1)
    watch_every: int = option(
        0,
        "steps between measurements of the distance to held-out data by a critic fitted anew, in "
        "the features of watch_with or, without it, on the samples themselves (2 to 4 CPU seconds "
        "each on small images); the best weights are kept; 0 for none",
        least=0,
    )
    watch_with: str | None = option(
        None,
        "what samples are judged with at each measurement, for FID, precision, recall, density, "
        "coverage and classes: {choices}",
        choices=EXTRACTORS,
        form="module:factory",
        pattern=r"[\w.]+:[\w.]+",
        unset="digits for the digits; else their own numbers, without FID",
    )
    best_by: str = option(
        "distance",
        "what says which weights are the best, and when to stop: {choices}; docs/stopping.md says "
        "where the distance fails",
        choices=("distance", "fid"),
    )
    patience: int = option(
        0,
        "stop when so many measurements in a row bring nothing better, 0 never; 4 is a start",
        least=0,
    )
    on_nan: str = option(
        "stop",
        "what to do when a loss is no longer a finite number: {choices} (skip leaves such steps "
        "out; rollback returns to the last checkpoint and draws other samples, 5 times at most)",
        choices=("stop", "skip", "rollback"),
    )
    progress: bool = option(True, "show a progress bar where stderr is a terminal")

    def __post_init__(self) -> None:
        self.game = self.game or ("relativistic" if self.preset == "r3gan" else "nonsaturating")
        check(self)
        if self.image_size & (self.image_size - 1):
            raise InputError(f"image_size: got {self.image_size}; give a power of two")
        games = PRESETS[self.preset]
        if self.game not in games:
            raise InputError(
                f"game: got {self.game!r} with the preset {self.preset!r}; give "
                f"{' or '.join(games)}, or another preset"
            )
        if self.grow_steps is not None and self.grow_from is None:
            raise InputError(
                f"grow_steps: got {self.grow_steps} for networks that don't grow; give grow_from "
                "too"
            )
        if self.clip is not None and games[self.game].clip is None:
            having = [game for game, recipe in games.items() if recipe.clip is not None]
            raise InputError(
                f"clip: got {self.clip} for the game {self.game!r}; give it for "
                f"{' or '.join(having) or 'no game of this preset'} only"
            )
        if self.patience and not self.watch_every:
            raise InputError(
                f"patience: got {self.patience} without measurements to wait for; give watch_every "
                "too"
            )
        for name in ("watch_with", "best_by"):
            if getattr(self, name) not in (None, "distance") and not self.watch_every:
                raise InputError(
                    f"{name}: got {getattr(self, name)!r} without measurements; give watch_every "
                    "too"
                )
        if not self._penalties(points=False):
            for name in ("penalty_weight", "penalty_every"):
                if getattr(self, name) is not None:
                    raise InputError(
                        f"{name}: got {getattr(self, name)} for the game {self.game!r} without a "
                        f"penalty; give penalty too, one of {', '.join(PENALTY_CHOICES[1:])}"
                    )
        norm = self.recipe().norm_d
        if self.merge and norm in ("batch", "spectral"):
            raise InputError(
                f"merge: got True with norm_d {norm!r}, which would see both sides as one batch; "
                "give norm_d 'none' or 'layer', or leave merge out"
            )
        self.device = str(_checks.device("device", self.device))
        if self.capture:
            self._check_capture()

    def _check_capture(self) -> None:
        if not self.device.startswith("cuda"):
            raise InputError(
                f"capture: got True with the device {self.device!r}, which has no CUDA graphs; "
                "give device 'cuda', or leave capture out"
            )
        for name, refused in (
            ("on_nan", self.on_nan == "skip"),
            ("grow_from", self.grow_from is not None),
            ("compile", self.compile),
        ):
            if refused:
                raise InputError(
                    f"capture: got True with {name} {getattr(self, name)!r}; leave one of the two "
                    "out"
                )

    def speed(self) -> Speed:
        """How the networks run."""
        from ganfast.train.speed import Speed  # not without torch

        return Speed(self.compile, self.precision, self.channels_last, self.merge, self.capture)
