"""How a game is trained, and what a run is asked to do: checked before anything starts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ganfast import _checks
from ganfast._options import check, documented, option
from ganfast.errors import InputError

OWN = "the game's own"


@dataclass(frozen=True)
class Recipe:
    """One game's settings. ``loss`` is the game's name in ganfast.functional."""

    loss: str
    optimizer: str  # "adam" or "rmsprop"
    lr: float  # of the generator and the critic alike
    betas: tuple[float, float] = (0.5, 0.99)  # Adam's
    n_critic: int = 1  # critic steps before each generator step
    warm_up: int = 0  # critic steps before the first generator step, besides n_critic
    critic_norm: bool = False  # batch norm in an image critic
    clip: float | None = None  # every critic weight is kept in [-clip, clip]
    penalty_weight: float | None = None  # of the gradient penalty


RECIPES: dict[str, Recipe] = {
    # Goodfellow et al. 2014, arXiv:1406.2661: the two costs of the generator. Same critic, same
    # settings.
    "minimax": Recipe("minimax", "adam", lr=5e-4, critic_norm=True),
    "nonsaturating": Recipe("nonsaturating", "adam", lr=5e-4, critic_norm=True),
    # Arjovsky et al. 2017, arXiv:1701.07875. No momentum: the critic's loss is not stationary. The
    # paper's 5e-5, 0.01 and 5 critic steps are for 64x64 images and 10^5 steps; a small critic
    # clipped that hard has next to no slope.
    "wgan": Recipe("wasserstein", "rmsprop", lr=1e-3, n_critic=3, clip=0.1),
    # Gulrajani et al. 2017, arXiv:1704.00028, at ten times its rate: digits need fewer steps than
    # LSUN. The warm-up lets the critic's estimate mean something from the first generator step.
    "wgan-gp": Recipe(
        "wasserstein",
        "adam",
        lr=1e-3,
        betas=(0.0, 0.9),
        n_critic=5,
        warm_up=100,
        penalty_weight=10.0,
    ),
}

MAY_CHANGE = frozenset(
    ("steps", "out", "overwrite", "resume", "on_error", "threads", "progress")
    + ("sample_every", "checkpoint_every", "log_every")
)
"""The settings that a resumed run may have other values of, and still be the same run."""


@documented
@dataclass
class TrainConfig:
    """Settings of one run; the flags of ``ganfast train`` are these fields.

    {options}

    Raises:
        InputError: a value that can't work, in one line that names the field.
    """

    game: str = option("nonsaturating", "what the two networks play: {choices}", choices=RECIPES)
    data: str = option(
        "digits",
        "what they learn: {choices} (the images in a folder, at any depth, or in an archive, of a "
        "pattern or in a .txt or .csv of paths)",
        choices=("digits", "ring", "grid"),
        form="folder:PATH",
        pattern="folder:.+",
    )
    steps: int = option(2000, "generator steps", least=1)
    batch_size: int = option(64, "samples per step, at least 2 (batch norm)", least=2)
    n_critic: int | None = option(
        None, "critic steps before each generator step", least=1, unset=OWN
    )
    clip: float | None = option(None, "wgan only: bound of every critic weight", above=0, unset=OWN)
    penalty_weight: float | None = option(
        None, "wgan-gp only: weight of the gradient penalty", above=0, unset=OWN
    )
    label_smoothing: float = option(
        0.0,
        "minimax and nonsaturating only: the real target becomes 1 minus this",
        least=0,
        below=1,
    )
    lr: float | None = option(None, "learning rate of both networks", above=0, unset=OWN)
    latent_dim: int = option(16, "length of the noise vector", least=1)
    width: int = option(
        32, "channels of the networks' narrowest layer; an MLP has four times as many", least=1
    )
    image_size: int = option(
        32, "folder:PATH only: images become squares of this side, a power of two", least=8
    )
    on_error: str = option(
        "raise",
        "folder:PATH only: what to do with an image that can't be read: {choices} (then it is "
        "named at the end, and the exit code is 3)",
        choices=("raise", "skip"),
    )
    seed: int = option(0, "the same seed on the same machine gives the same run", least=0)
    out: str | Path = option(
        "runs/train", "folder for the log, the pictures and the checkpoint", metavar="DIR"
    )
    overwrite: bool = option(False, "start afresh in a folder that already holds a run")
    resume: str | Path | None = option(
        None, "folder of a run to continue, with the settings it had", metavar="DIR"
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
    sample_every: int = option(
        500, "steps between sample pictures, 0 for none but the last", least=0
    )
    checkpoint_every: int = option(
        500, "steps between checkpoints, 0 for none but the last", least=0
    )
    log_every: int = option(50, "steps between log lines, each a mean over them", least=1)
    progress: bool = option(True, "show a progress bar where stderr is a terminal")

    def __post_init__(self) -> None:
        check(self)
        if self.image_size & (self.image_size - 1):
            raise InputError(f"image_size: got {self.image_size}; give a power of two")
        recipe = RECIPES[self.game]
        for name in ("clip", "penalty_weight"):
            if getattr(self, name) is not None and getattr(recipe, name) is None:
                games = [game for game in RECIPES if getattr(RECIPES[game], name) is not None]
                raise InputError(
                    f"{name}: got {getattr(self, name)} for the game {self.game!r}; give it for "
                    f"{' or '.join(games)} only"
                )
        if self.label_smoothing and recipe.loss == "wasserstein":
            raise InputError(
                f"label_smoothing: got {self.label_smoothing} for the game {self.game!r}, which "
                "has no labels; give 0"
            )
        self.device = str(_checks.device("device", self.device))

    def recipe(self) -> Recipe:
        """The game's recipe, with this run's own values in place of its defaults."""
        recipe = RECIPES[self.game]
        if recipe.penalty_weight is not None and self.data in ("ring", "grid"):
            # The paper's own weight for toy data: 10 makes the critic too smooth for narrow modes.
            recipe = dataclasses.replace(recipe, penalty_weight=0.1)
        own = {name: getattr(self, name) for name in ("lr", "n_critic", "clip", "penalty_weight")}
        return dataclasses.replace(recipe, **{k: v for k, v in own.items() if v is not None})
