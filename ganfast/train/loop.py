"""The loop of training, to be read top to bottom. What changes over time is a function of the step
(schedule.py), what differs between games a row of a table (recipe.py)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import ganfast.functional as GF
from ganfast.train import schedule
from ganfast.train.players import Players, frozen, gradients, norm_of, share_at_bound
from ganfast.train.recipe import PENALTIES, Penalty


class Trainer(Players):
    """``generator`` (noise (n, latent_dim) -> samples) and ``critic`` (samples -> scores) play the
    game of ``recipe`` on ``source``. ``steps`` is where a rate that decays ends; with ``skip_nan``
    a step whose loss or gradient is not finite is left out; ``processes`` share each batch, and
    ``speed`` says how the networks run."""

    def step(self) -> None:
        """One generator step, after the critic steps that come before it."""
        self.set_rate(schedule.learning_rate(self.steps_done, self.recipe, self.steps))
        for number in range(schedule.critic_steps(self.steps_done, self.recipe)):
            self.critic_step(number)
        self.generator_step()
        self.steps_done += 1
        self.following.follow(schedule.average_over(self.steps_done))
        self.grow()

    def critic_step(self, number: int = 0) -> None:
        """Teach the critic to tell real from fake; ``number`` counts within a step."""
        penalties = self.due(self.steps_done * self.recipe.n_critic + number)
        self.meter.add(**self.teacher.teach_critic(penalties, self.real(), self.noise()))

    def generator_step(self) -> None:
        """Teach the generator to be taken for real."""
        batch = (self.noise(), self.real()) if self.recipe.compares else (self.noise(),)
        self.meter.add(**self.teacher.teach_generator(*batch))

    def teach_critic(
        self, penalties: Sequence[Penalty], real: Tensor, noise: Tensor
    ) -> dict[str, Tensor]:
        """A critic step on one batch; what it has to log, on the device."""
        with torch.no_grad():  # the critic's loss has nothing to say to the generator
            fake = self.fake(noise)
        game, clip, own = self.recipe.loss, self.recipe.clip, self.scores(real, fake, penalties)
        scores, labels = map(self.processes.whole, own), self.recipe.labels
        loss = GF.discriminator_loss(*scores, game=game, generator=self.random, **labels)
        logged, parts = {"critic_loss": loss}, {}
        if game == "wasserstein":  # the earth mover's distance, times a Lipschitz constant
            logged["wasserstein"] = -loss
        for row in penalties:
            kind, part = PENALTIES[row.kind], self.penalty(row, real, fake, own)
            parts[kind.logged] = part.detach()
            loss = loss + row.every * kind.factor * row.weight * part
        if not self.take(self.critic_optimizer, loss, parts.values()):  # this clips, too
            return {}
        if clip is not None:  # near 1 the critic is made of signs alone
            logged["clipped"] = share_at_bound(self.critic, clip)
        return logged | parts

    def teach_generator(self, noise: Tensor, real: Tensor | None = None) -> dict[str, Tensor]:
        """As ``teach_critic``, of a generator step; ``real`` where the game compares."""
        with frozen(self.critic_optimizer):  # no gradients for weights that stay as they are
            fake = self.processes.whole(self.score(self.fake(noise)))
            if real is not None:
                with torch.no_grad():
                    real = self.processes.whole(self.score(real))
            loss = GF.generator_loss(fake, real=real, game=self.recipe.loss)
            if not self.take(self.generator_optimizer, loss):
                return {}
        norm = norm_of(gradients(self.generator_optimizer))
        logged = {"generator_loss": loss, "generator_gradient": norm}
        if self.recipe.scores_are_logits:
            logged["d_of_fake"] = torch.sigmoid(fake.detach()).mean()
        return logged
