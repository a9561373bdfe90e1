"""Why the generator's cost matters: each game's cost and slope, and what a critic that gets ahead
leaves of the gradient (arXiv:1701.04862, figure 2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

import ganfast.functional as GF
from ganfast.train.config import TrainConfig
from ganfast.train.data import digits
from ganfast.train.players import norm_of
from ganfast.train.run import new_trainer


def generator_costs(probability: Tensor, games: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Each game's generator cost at D(G(z)) = ``probability`` and its slope, both (n,) float64.

    The slope is with respect to the logit x, D(G(z)) = sigmoid(x): that is the critic's output,
    which the generator's gradient comes through. With respect to D(G(z)) itself it would have a
    factor 1 / (D (1 - D)) more, which the sigmoid takes away again. Costs come from
    ``ganfast.functional.generator_loss`` and slopes from autograd through it: what training runs
    on.
    """
    costs = {}
    for game in games:
        logit = torch.logit(probability.detach().to(torch.float64)).requires_grad_()
        cost = GF.generator_loss(logit, game=game, reduction="none")
        (slope,) = torch.autograd.grad(cost.sum(), logit)
        costs[game] = (cost.detach(), slope)
    return costs


class Vanishing(NamedTuple):
    """Numbers of critic steps, and after them the mean D(G(z)) and the norm of each game's
    gradient."""

    steps: list[int]
    d_of_fake: list[float]
    norms: dict[str, list[float]]


def vanishing_gradients(
    games: Sequence[str], *, critic_steps: int = 300, every: int = 25, seed: int = 0
) -> Vanishing:
    """Train a critic on the digits against an untrained generator that stands still.

    On the way, measure the gradient that each of ``games`` would give the generator, with the same
    critic and the same noise. Deterministic by ``seed``; about two seconds.
    """
    trainer = new_trainer(TrainConfig(game="minimax", seed=seed), digits())
    noise, weights = trainer.noise(256), list(trainer.generator.parameters())
    found = Vanishing([], [], {game: [] for game in games})
    for step in range(1, critic_steps + 1):
        trainer.critic_step()
        if step == 1 or step % every == 0:
            scores = trainer.critic(trainer.generator(noise))
            found.steps.append(step)
            found.d_of_fake.append(float(torch.sigmoid(scores.detach()).mean()))
            for game in games:
                loss = GF.generator_loss(scores, game=game)
                gradients = torch.autograd.grad(loss, weights, retain_graph=True)
                found.norms[game].append(float(norm_of(list(gradients))))
    return found
