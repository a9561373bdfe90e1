"""The loop of training, to be read top to bottom. What changes over time is a function of the step
(schedule.py), what differs between games a row of a table (recipe.py)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.train import schedule
from ganfast.train.log import Meter
from ganfast.train.players import (
    Guard,
    follow,
    gradient_norm,
    make_optimizer,
    penalty_of,
    sample,
    share_at_bound,
    take,
)
from ganfast.train.processes import Processes
from ganfast.train.recipe import PENALTIES, Recipe
from ganfast.train.source import Source


class Trainer:
    """``generator`` (noise (n, latent_dim) -> samples) and ``critic`` (samples -> scores) play the
    game of ``recipe`` on ``source``. ``steps`` is where a rate that decays ends;
    with ``skip_nan`` a step whose loss or gradient is not finite is left out."""

    def __init__(
        self, generator: nn.Module, critic: nn.Module, source: Source, recipe: Recipe,
        *, steps: int = 2000, seed: int = 0, device: str = "cpu", skip_nan: bool = False,
        processes: Processes | None = None,
    ) -> None:  # fmt: skip
        self.processes = processes or Processes()
        self.source, self.recipe, self.steps, self.device = source, recipe, steps, device
        self.generator, self.critic = generator.to(device), critic.to(device)
        self.processes.join(self.generator, self.critic)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.generator_optimizer = make_optimizer(self.generator, recipe)
        self.critic_optimizer = make_optimizer(self.critic, recipe, recipe.clip)
        # All that is drawn in training comes from here: its state is enough to continue the run.
        self.random = torch.Generator(device).manual_seed(seed)
        self.steps_done, self.rollbacks, self.meter = 0, 0, Meter()
        self.guard = Guard(self.meter, self.generator, self.critic) if skip_nan else None

    def step(self) -> None:
        """One generator step, after the critic steps that come before it."""
        for number in range(schedule.critic_steps(self.steps_done, self.recipe)):
            self.critic_step(number)
        self.generator_step()
        self.steps_done += 1
        follow(self.average, self.generator, over=schedule.average_over(self.steps_done))

    def critic_step(self, number: int = 0) -> None:
        """Teach the critic to tell real from fake; ``number`` counts within a step."""
        recipe, count = self.recipe, self.steps_done * self.recipe.n_critic + number
        penalties = [row for row in recipe.penalties if schedule.is_due(count, row.every)]
        places = {PENALTIES[row.kind].at for row in penalties}
        real = self.real().requires_grad_("real" in places)
        with torch.no_grad():  # the critic's loss has nothing to say to the generator
            fake = self.generator(self.noise(recipe.batch_size))
        fake.requires_grad_("fake" in places)

        scores = self.critic(real), self.critic(fake)
        whole = map(self.processes.whole, scores)
        loss = GF.discriminator_loss(
            *whole, game=recipe.loss, **recipe.labels, generator=self.random
        )
        logged = {"critic_loss": loss}
        if recipe.loss == "wasserstein":  # the earth mover's distance, times a Lipschitz constant
            logged["wasserstein"] = -loss
        parts = {}
        for row in penalties:
            penalty = penalty_of(row, self.critic, real, fake, scores, self.random, self.processes)
            parts[PENALTIES[row.kind].logged] = penalty.detach()
            loss = loss + row.every * PENALTIES[row.kind].factor * row.weight * penalty
        if self.take(self.critic_optimizer, loss, parts):  # and clip, if it is to
            if recipe.clip is not None:  # near 1 the critic is made of signs alone
                logged["clipped"] = share_at_bound(self.critic, recipe.clip)
            self.meter.add(**logged, **parts)

    def generator_step(self) -> None:
        """Teach the generator to be taken for real."""
        self.critic.requires_grad_(False)  # no gradients for weights that this step leaves alone
        scores = self.critic(self.generator(self.noise(self.recipe.batch_size)))
        scores, real = self.processes.whole(scores), None
        if self.recipe.compares:
            with torch.no_grad():
                real = self.processes.whole(self.critic(self.real()))
        loss = GF.generator_loss(scores, real=real, game=self.recipe.loss)
        if self.take(self.generator_optimizer, loss):
            norm = gradient_norm(self.generator)
            self.meter.add(generator_loss=loss, generator_gradient=norm)
            if self.recipe.scores_are_logits:
                self.meter.add(d_of_fake=torch.sigmoid(scores.detach()).mean())
        self.critic.requires_grad_(True)

    def real(self) -> Tensor:
        """A batch of real samples, in the range that the generator's last layer has."""
        batch = self.source.train.batch(self.recipe.batch_size, self.random)
        batch = self.processes.part(batch)
        return batch if self.recipe.input_range == "tanh" else (batch + 1) / 2

    def noise(self, n: int) -> Tensor:
        """The generator's input, (n, latent_dim)."""
        shape = (n, self.recipe.latent_dim)
        noise = torch.randn(shape, generator=self.random, device=self.device)
        return self.processes.part(noise)

    def take(self, optimizer: torch.optim.Optimizer, loss: Tensor, parts: Any = None) -> bool:
        """A step of ``optimizer`` down ``loss`` at the rate that it is time for."""
        rate = schedule.learning_rate(self.steps_done, self.recipe, self.steps)
        parts = list((parts or {}).values())
        return take(optimizer, loss, rate, self.guard, self.processes, parts)

    def sample(self, n: int, seed: int) -> Tensor:
        """``n`` samples of the average generator, which change nothing in the run."""
        return sample(self.average, self.recipe, n, seed)
