"""Why the generator's cost matters: each game's cost and slope, and what a critic that gets ahead
leaves of the gradient (arXiv:1701.04862, figure 2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

import ganfast.functional as GF
from ganfast.train.config import TrainConfig
from ganfast.train.data import digits
from ganfast.train.players import norm_of
from ganfast.train.run import new_trainer


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


def vanishing_gradients(
    games: Sequence[str], *, critic_steps: int = 300, every: int = 25, seed: int = 0
) -> tuple[list[int], dict[str, list[float]]]:
    """Train a critic on the digits against an untrained generator that stands still.

    On the way, measure the gradient that each of ``games`` would give the generator, with the same
    critic and the same noise. Deterministic by ``seed``; about two seconds.

    Returns:
        Numbers of critic steps, and the norm of each game's gradient after them.
    """
    trainer = new_trainer(TrainConfig(game="minimax", seed=seed), digits())
    noise, weights = trainer.noise(256), list(trainer.generator.parameters())
    steps: list[int] = []
    norms: dict[str, list[float]] = {game: [] for game in games}
    for step in range(1, critic_steps + 1):
        trainer.critic_step()
        if step == 1 or step % every == 0:
            steps.append(step)
            scores = trainer.critic(trainer.generator(noise))
            for game in games:
                loss = GF.generator_loss(scores, game=game)
                gradients = torch.autograd.grad(loss, weights, retain_graph=True)
                norms[game].append(float(norm_of(list(gradients))))
    return steps, norms
