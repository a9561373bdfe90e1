"""Numbers that tell how training goes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.errors import DivergedError
from ganfast.train.data import Mixture


def check_finite(line: dict[str, float]) -> None:
    """Raise DivergedError if a value of a log line is NaN or infinite."""
    broken = [name for name, value in line.items() if not math.isfinite(value)]
    if broken:
        raise DivergedError(
            f"{', '.join(broken)} is no longer finite at step {line['step']}: lower lr; "
            "the last checkpoint is from before"
        )


def gradient_norm(gradients: Iterable[Tensor]) -> Tensor:
    """The 2-norm over all of ``gradients`` together, a scalar: how hard a loss pulls."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))


def wasserstein_estimate(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """The critic's gap E f(real) - E f(fake): the earth mover's distance times the critic's
    Lipschitz constant."""
    return real_scores.detach().mean() - fake_scores.detach().mean()


def clipped_fraction(critic: nn.Module, bound: float) -> Tensor:
    """The share of a clipped critic's weights that lie at the bound, a scalar.

    Near 1 the critic is made of signs alone: the bound is too tight for what it should learn.
    """
    fraction = GF.clip_weights_(critic, bound, return_fraction=True)
    assert fraction is not None
    return fraction


def mode_coverage(points: Tensor, mixture: Mixture, least: int = 1) -> tuple[int, float]:
    """How many modes of ``mixture`` have ``least`` of the ``points`` (n, 2), and the share of
    points at any mode.

    A point is at a mode if it lies within three standard deviations of its centre.
    """
    distance, nearest = torch.cdist(points, mixture.centres.to(points)).min(dim=1)
    at_mode = distance <= 3 * mixture.std
    counts = torch.bincount(nearest[at_mode], minlength=len(mixture.centres))
    return int((counts >= least).sum()), float(at_mode.float().mean())


def generator_costs(probability: Tensor, games: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Each game's generator cost at D(G(z)) = ``probability`` and its slope with respect to it,
    both (n,) float64.

    Costs come from ``ganfast.functional.generator_loss`` and slopes from autograd through it: what
    training runs on.
    """
    costs = {}
    for game in games:
        p = probability.detach().to(torch.float64).requires_grad_()
        cost = GF.generator_loss(torch.logit(p), game=game, reduction="none")
        (slope,) = torch.autograd.grad(cost.sum(), p)
        costs[game] = (cost.detach(), slope)
    return costs
