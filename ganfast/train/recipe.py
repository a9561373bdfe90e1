"""How each game is trained: its loss, its optimizer, and what keeps its critic in check."""

from __future__ import annotations

from dataclasses import dataclass


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
