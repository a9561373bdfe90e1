"""How a game is played, as tables: a row for each game of a preset, a row for each penalty.

A new game, penalty or preset is a row here and nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganfast.errors import InputError
from ganfast.games import find

NORMS = ("none", "batch", "layer", "spectral")
ACTIVATIONS = ("leaky_relu", "elu", "relu", "tanh")
POOLINGS = ("strided", "average", "max")
DECAYS = ("none", "cosine")
RANGES = ("tanh", "sigmoid")


@dataclass(frozen=True)
class PenaltyKind:
    """One penalty: ``factor * weight * mean_i (||d critic(x_i) / d x_i|| - target)^2``.

    ``at`` says what x_i are, as in :func:`ganfast.functional.gradient_penalty`; ``logged`` is what
    the log calls the mean, without factor and weight.
    """

    at: str
    target: float
    factor: float
    weight: float  # by default, on images
    weight_on_points: float  # by default: one as on images makes the critic too smooth for modes
    logged: str
    paper: str


PENALTIES: dict[str, PenaltyKind] = {
    "wgan-gp": PenaltyKind(
        "interpolated", 1.0, 1.0, 10.0, 1.0, "penalty", "Gulrajani et al. 2017, arXiv:1704.00028"
    ),
    "r1": PenaltyKind("real", 0.0, 0.5, 0.1, 0.1, "r1", "Mescheder et al. 2018, arXiv:1801.04406"),
    "r2": PenaltyKind("fake", 0.0, 0.5, 0.1, 0.1, "r2", "Mescheder et al. 2018, arXiv:1801.04406"),
}


@dataclass(frozen=True)
class Penalty:
    """A row of a recipe: which of PENALTIES, its weight (lambda of WGAN-GP, gamma of R1 and R2),
    and in every how many critic steps: then with that many times the weight (lazy
    regularization, arXiv:1912.04958)."""

    kind: str
    weight: float
    every: int = 1


@dataclass(frozen=True)
class Recipe:
    """Everything that a loop needs to know of one game, apart from the networks.

    Raises:
        InputError: values that can't go together.
    """

    loss: str  # a game of ganfast.functional
    optimizer: str = "adam"  # or "rmsprop"
    lr: float = 5e-4  # of the generator and the critic alike
    betas: tuple[float, float] = (0.5, 0.99)  # Adam's
    decay: str = "none"  # of the rate, one of DECAYS
    batch_size: int = 64
    latent_dim: int = 16
    n_critic: int = 1  # critic steps before each generator step
    pretraining: int = 0  # critic steps before the first of all, besides n_critic
    warm_up: bool = False  # WGAN's 100 critic steps at the start and now and then
    clip: float | None = None  # every critic weight is kept in [-clip, clip]
    penalties: tuple[Penalty, ...] = ()
    label_smoothing: float = 0.0
    label_noise: float = 0.0
    label_flip: float = 0.0
    norm_g: str = "batch"
    norm_d: str = "none"
    activation: str = "leaky_relu"
    pooling: str = "strided"
    input_range: str = "tanh"
    grow_from: int | None = None  # side of the first pictures of networks that grow
    grow_steps: int = 200  # of each phase: at a side, and of fading to the next

    def __post_init__(self) -> None:
        game = find(self.loss)
        for name, value in self.labels.items():
            if value and not game.soft_labels:
                raise InputError(
                    f"{name}: got {value:g} for the game {self.loss!r}, which has no labels; give 0"
                )
        if self.norm_d == "batch" and self.penalties:
            raise InputError(
                "norm_d: got 'batch' with a gradient penalty, which is about each sample alone, "
                "and batch norm ties them together; give 'none', 'layer' or 'spectral'"
            )
        if self.norm_d == "spectral" and self.clip is not None:
            raise InputError(
                "norm_d: got 'spectral' with weights that are clipped, and the clip would bound "
                "what spectral norm then rescales; give 'none', or a game without clip"
            )

    @property
    def scores_are_logits(self) -> bool:
        """Whether sigmoid of a score is how probably the critic takes a sample for real."""
        return find(self.loss).discriminator == "cross_entropy" and not self.compares

    @property
    def compares(self) -> bool:
        """Whether the loss compares real with generated samples: then the generator's does too."""
        return bool(find(self.loss).compares)

    @property
    def labels(self) -> dict[str, Any]:
        """The arguments of discriminator_loss that are about labels."""
        return {
            "label_smoothing": self.label_smoothing,
            "label_noise": self.label_noise,
            "label_flip": self.label_flip,
        }

    @property
    def of_networks(self) -> dict[str, Any]:
        """The arguments of networks.build that a recipe has."""
        names = ("norm_g", "norm_d", "activation", "pooling", "input_range", "grow_from")
        return {name: getattr(self, name) for name in names}

    def lines(self) -> list[str]:
        """One line per setting, as ``ganfast train --show`` prints them."""
        texts = {one.name: str(getattr(self, one.name)) for one in dataclasses.fields(self)}
        rows = [
            f"{row.kind} {row.weight:g}" + (f" every {row.every}" if row.every > 1 else "")
            for row in self.penalties
        ]
        texts["penalties"] = " + ".join(rows) or "none"
        texts["betas"] = " ".join(map(str, self.betas)) if self.optimizer == "adam" else "none"
        texts["clip"] = "none" if self.clip is None else str(self.clip)
        return [f"{name:<16}{text}" for name, text in texts.items()]


CHAPTER: dict[str, Recipe] = {
    # Goodfellow et al. 2014, arXiv:1406.2661, and his tutorial, arXiv:1701.00160: three costs of
    # the generator. Same critic, same settings.
    "minimax": Recipe("minimax", norm_d="batch"),
    "nonsaturating": Recipe("nonsaturating", norm_d="batch"),
    "maximum_likelihood": Recipe("maximum_likelihood", norm_d="batch"),
    # Arjovsky et al. 2017, arXiv:1701.07875. No momentum: the critic's loss is not stationary. The
    # paper's 5e-5, 0.01 and 5 critic steps are for 64x64 images and 10^5 steps; a small critic
    # clipped that hard has next to no slope.
    "wgan": Recipe("wasserstein", "rmsprop", lr=1e-3, n_critic=3, clip=0.1),
    # Gulrajani et al. 2017, arXiv:1704.00028, at ten times its rate: digits need fewer steps than
    # LSUN. The pre-training lets the critic's estimate mean something from the first generator
    # step.
    "wgan-gp": Recipe(
        "wasserstein",
        lr=1e-3,
        betas=(0.0, 0.9),
        n_critic=5,
        pretraining=100,
        penalties=(Penalty("wgan-gp", 10.0),),
    ),
    # Lim and Ye 2017, arXiv:1705.02894, with the critic of Miyato et al. 2018, arXiv:1802.05957.
    "hinge": Recipe("hinge", lr=1e-3, betas=(0.0, 0.9), n_critic=2, norm_d="spectral"),
    # Mao et al. 2017, arXiv:1611.04076.
    "least_squares": Recipe("least_squares", norm_d="batch"),
    # Huang et al. 2025, arXiv:2501.05441: each real sample against a generated one, after
    # Jolicoeur-Martineau 2018, arXiv:1807.00734.
    "relativistic": Recipe(
        "relativistic",
        lr=1e-3,
        betas=(0.0, 0.9),
        penalties=(Penalty("r1", 0.1), Penalty("r2", 0.1)),
    ),
}

# What the papers print, for images of 64x64 and 10^5 steps. DCGAN's: arXiv:1511.06434.
_DCGAN = functools.partial(
    Recipe, lr=2e-4, betas=(0.5, 0.999), batch_size=128, latent_dim=100, norm_d="batch"
)
PAPER: dict[str, Recipe] = {
    "minimax": _DCGAN("minimax"),
    "nonsaturating": _DCGAN("nonsaturating"),
    "maximum_likelihood": _DCGAN("maximum_likelihood"),
    "wgan": Recipe(
        "wasserstein", "rmsprop", lr=5e-5, n_critic=5, warm_up=True, clip=0.01, latent_dim=100
    ),
    "wgan-gp": Recipe(
        "wasserstein",
        lr=1e-4,
        betas=(0.0, 0.9),
        n_critic=5,
        penalties=(Penalty("wgan-gp", 10.0),),
        latent_dim=128,
    ),
    "hinge": Recipe(
        "hinge", lr=2e-4, betas=(0.0, 0.9), n_critic=5, norm_d="spectral", latent_dim=128
    ),
    "least_squares": _DCGAN("least_squares"),
}

# Huang et al. 2025, arXiv:2501.05441: two penalties in place of every trick, and a loss of pairs.
# "nonsaturating" has the unpaired loss that theirs starts from.
_R3GAN = functools.partial(
    Recipe,
    lr=1e-3,
    betas=(0.0, 0.9),
    decay="cosine",
    batch_size=256,
    penalties=(Penalty("r1", 0.1), Penalty("r2", 0.1)),
)
R3GAN: dict[str, Recipe] = {
    "nonsaturating": _R3GAN("nonsaturating"),
    "relativistic": _R3GAN("relativistic"),
}

# For points in the plane, to find every mode (benchmarks/modes.py): no momentum, and a rate that
# goes to 0, since the players circle.
_POINTS = functools.partial(_R3GAN, lr=2e-3, batch_size=128)
POINTS: dict[str, Recipe] = {
    "nonsaturating": _POINTS("nonsaturating", penalties=(Penalty("r1", 0.02), Penalty("r2", 0.02))),
    "wgan-gp": _POINTS("wasserstein", n_critic=2, penalties=(Penalty("wgan-gp", 1.0),)),
}

PRESETS: dict[str, Mapping[str, Recipe]] = {
    "chapter": CHAPTER,
    "paper": PAPER,
    "r3gan": R3GAN,
    "points": POINTS,
}
