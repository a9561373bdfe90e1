"""The loop of training, to be read top to bottom. What changes over time is a function of the step
(schedule.py), what differs between games a row of a table (recipe.py)."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.train import players, schedule
from ganfast.train.graphs import Graphs
from ganfast.train.log import Meter
from ganfast.train.processes import Processes
from ganfast.train.recipe import PENALTIES, Penalty, Recipe
from ganfast.train.source import Source
from ganfast.train.speed import Speed


class Trainer:
    """``generator`` (noise (n, latent_dim) -> samples) and ``critic`` (samples -> scores) play the
    game of ``recipe`` on ``source``. ``steps`` is where a rate that decays ends; with ``skip_nan``
    a step whose loss or gradient is not finite is left out; ``processes`` share each batch, and
    ``speed`` says how the networks run."""

    def __init__(
        self, generator: nn.Module, critic: nn.Module, source: Source, recipe: Recipe,
        *, steps: int = 2000, seed: int = 0, device: str = "cpu", skip_nan: bool = False,
        processes: Processes | None = None, speed: Speed | None = None,
    ) -> None:  # fmt: skip
        self.source, self.recipe, self.steps, self.device = source, recipe, steps, device
        self.processes, self.speed = processes or Processes(), speed or Speed()
        self.generator, self.critic = generator.to(device), critic.to(device)
        self.processes.join(self.generator, self.critic)
        self.speed.lay_out(self.generator, self.critic)
        self.generate, self.score = map(self.speed.forward_of, (self.generator, self.critic))
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.following = players.Average(self.average, self.generator)
        optimizer = functools.partial(players.make_optimizer, capturable=self.speed.capture)
        self.generator_optimizer = optimizer(self.generator, recipe)
        self.critic_optimizer = optimizer(self.critic, recipe, recipe.clip)
        # All that is drawn in training comes from here: its state is enough to continue the run.
        self.random = torch.Generator(device).manual_seed(seed)
        self.steps_done, self.rollbacks, self.meter = 0, 0, Meter()
        self.guard = players.Guard(self.meter, self.generator, self.critic) if skip_nan else None
        self.grow()
        self.graphs = Graphs(self) if self.speed.capture else None

    def step(self) -> None:
        """One generator step, after the critic steps that come before it."""
        if self.graphs is not None:
            self.graphs.prepare()
        for number in range(schedule.critic_steps(self.steps_done, self.recipe)):
            self.critic_step(number)
        self.generator_step()
        self.steps_done += 1
        self.following.follow(schedule.average_over(self.steps_done))
        self.grow()

    def critic_step(self, number: int = 0) -> None:
        """Teach the critic to tell real from fake; ``number`` counts within a step."""
        penalties = self.due(self.steps_done * self.recipe.n_critic + number)
        players.set_rate(self, self.critic_optimizer)
        given = self.real(), self.noise(self.recipe.batch_size)
        if self.graphs is not None:
            self.meter.add(**self.graphs.critic_step(penalties, *given))
        else:
            self.meter.add(**self.teach_critic(penalties, *given))

    def teach_critic(
        self, penalties: Sequence[Penalty], real: Tensor, noise: Tensor
    ) -> dict[str, Tensor]:
        """What a critic step does with its batch, and what it has to log: on the device alone."""
        recipe = self.recipe
        with torch.no_grad():  # the critic's loss has nothing to say to the generator
            fake = self.fake(noise)
        scores = players.scores_of(self, real, fake, penalties)
        loss = GF.discriminator_loss(
            *map(self.processes.whole, scores),
            game=recipe.loss, generator=self.random, **recipe.labels,
        )  # fmt: skip
        logged, parts = {"critic_loss": loss}, {}
        if recipe.loss == "wasserstein":  # the earth mover's distance, times a Lipschitz constant
            logged["wasserstein"] = -loss
        for row in penalties:
            part = players.penalty_of(self, row, real, fake, scores)
            parts[PENALTIES[row.kind].logged] = part.detach()
            loss = loss + row.every * PENALTIES[row.kind].factor * row.weight * part
        # This clips, too, if the game is to.
        if not players.take(self, self.critic_optimizer, loss, parts.values()):
            return {}
        if recipe.clip is not None:  # near 1 the critic is made of signs alone
            logged["clipped"] = players.share_at_bound(self.critic, recipe.clip)
        return logged | parts

    def generator_step(self) -> None:
        """Teach the generator to be taken for real."""
        players.set_rate(self, self.generator_optimizer)
        given = [self.noise(self.recipe.batch_size)]
        if self.recipe.compares:
            given.append(self.real())
        if self.graphs is not None:
            self.meter.add(**self.graphs.generator_step(*given))
        else:
            self.meter.add(**self.teach_generator(*given))

    def teach_generator(self, noise: Tensor, real: Tensor | None = None) -> dict[str, Tensor]:
        """As ``teach_critic``, of a generator step; ``real`` where the game compares."""
        self.critic.requires_grad_(False)  # no gradients for weights that this step leaves alone
        fake = self.processes.whole(self.score(self.fake(noise), **self.size))
        if real is not None:
            with torch.no_grad():
                real = self.processes.whole(self.score(real, **self.size))
        loss, logged = GF.generator_loss(fake, real=real, game=self.recipe.loss), {}
        if players.take(self, self.generator_optimizer, loss):
            norm = players.gradient_norm(self.generator)
            logged = {"generator_loss": loss, "generator_gradient": norm}
            if self.recipe.scores_are_logits:
                logged["d_of_fake"] = torch.sigmoid(fake.detach()).mean()
        self.critic.requires_grad_(True)
        return logged

    def due(self, count: int) -> tuple[Penalty, ...]:
        """The penalties of critic step ``count`` of the run."""
        rows = self.recipe.penalties
        return tuple(row for row in rows if schedule.is_due(count, row.every))

    def real(self) -> Tensor:
        """A batch of real samples, as large and in the range as the generator makes them."""
        batch = self.source.train.batch(self.recipe.batch_size, self.random)
        return players.like_generated(self, self.processes.part(batch))

    def fake(self, noise: Tensor | None = None) -> Tensor:
        """A batch of the generator's samples, of ``noise`` or of some that is drawn here."""
        noise = self.noise(self.recipe.batch_size) if noise is None else noise
        return self.generate(noise, **self.size)

    def noise(self, n: int) -> Tensor:
        """The generator's input, (n, latent_dim)."""
        shape = (n, self.recipe.latent_dim)
        return self.processes.part(torch.randn(shape, generator=self.random, device=self.device))

    def grow(self) -> None:
        """Let networks that grow have the size of this step."""
        networks = self.generator, self.critic, self.average
        self.size = players.grow(self.steps_done, self.recipe, *networks)

    def sample(self, n: int, seed: int) -> Tensor:
        """``n`` samples of the average generator, which change nothing in the run."""
        return players.sample(self.average, self.recipe, n, seed)
