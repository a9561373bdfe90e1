"""The training loop: real samples -> critic steps -> one generator step, in every game."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.optim import Adam, RMSprop
from ganfast.train import checkpoint, networks
from ganfast.train.config import Recipe, TrainConfig
from ganfast.train.data import Source
from ganfast.train.log import Meter

# Players of a game circle around its solution rather than settle: a running mean of the last steps
# of the generator makes better samples than any one of them.
AVERAGE_OVER = 200  # steps, or the last quarter of a run shorter than 800


class Trainer:
    """Two networks, two optimizers, one random stream. ``step`` moves them all; ``state`` is all
    there is to save."""

    def __init__(self, config: TrainConfig, source: Source) -> None:
        self.config = config
        self.recipe = config.recipe()
        self.source = source
        self.device = torch.device(config.device)
        self.steps_done = 0
        self.meter = Meter()

        generator, critic = networks.build(
            source.shape,
            config.latent_dim,
            config.width,
            config.seed,
            critic_norm=self.recipe.critic_norm,
        )
        self.generator = generator.to(self.device)
        self.critic = critic.to(self.device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.generator_optimizer = make_optimizer(self.generator, self.recipe)
        self.critic_optimizer = make_optimizer(self.critic, self.recipe, self.recipe.clip)
        # Everything drawn in training comes from this stream, so that its state is enough to
        # continue the run.
        self.random = torch.Generator(self.device).manual_seed(config.seed)

    def step(self) -> None:
        """One generator step, after the critic steps that the game asks for."""
        warm_up = self.recipe.warm_up if self.steps_done == 0 else 0
        for _ in range(warm_up + self.recipe.n_critic):
            self.critic_step()
        self.generator_step()
        self.steps_done += 1
        update_average(
            self.average, self.generator, over=min(AVERAGE_OVER, 1 + self.steps_done // 4)
        )

    def critic_step(self) -> None:
        """Teach the critic to tell real from fake."""
        real = self.source.batch(self.config.batch_size, self.random)
        with torch.no_grad():  # the critic's loss has nothing to say to the generator
            fake = self.generator(self.noise(self.config.batch_size))

        real_scores, fake_scores = self.critic(real), self.critic(fake)
        loss = GF.discriminator_loss(
            real_scores,
            fake_scores,
            game=self.recipe.loss,
            label_smoothing=self.config.label_smoothing,
        )
        self.meter.add(critic_loss=loss)
        if self.recipe.loss == "wasserstein":
            # E f(real) - E f(fake), the earth mover's distance times the critic's Lipschitz
            # constant
            self.meter.add(wasserstein=-loss)
        if self.recipe.penalty_weight is not None:
            penalty = GF.gradient_penalty(
                self.critic, real, fake, weight=1.0, generator=self.random
            )
            self.meter.add(penalty=penalty)
            loss = loss + self.recipe.penalty_weight * penalty

        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # Clips what it has updated: the critic that the generator learns from is inside the bound.
        self.critic_optimizer.step()
        if self.recipe.clip is not None:
            # Near 1 the critic is made of signs alone: the bound is too tight for what it learns.
            clipped = GF.clip_weights_(self.critic, self.recipe.clip, return_fraction=True)
            assert clipped is not None
            self.meter.add(clipped=clipped)

    def generator_step(self) -> None:
        """Teach the generator to be taken for real."""
        self.critic.requires_grad_(False)  # no gradients for weights that this step leaves alone
        fake_scores = self.critic(self.generator(self.noise(self.config.batch_size)))
        loss = GF.generator_loss(fake_scores, game=self.recipe.loss)

        self.generator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.generator_optimizer.step()
        self.critic.requires_grad_(True)

        gradients = (p.grad for p in self.generator.parameters() if p.grad is not None)
        self.meter.add(generator_loss=loss, generator_gradient=gradient_norm(gradients))
        if self.recipe.loss != "wasserstein":
            self.meter.add(d_of_fake=torch.sigmoid(fake_scores.detach()).mean())

    def noise(self, n: int) -> Tensor:
        """The generator's input, (n, latent_dim)."""
        return torch.randn((n, self.config.latent_dim), generator=self.random, device=self.device)

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Tensor:
        """``n`` samples on the CPU from noise of their own: drawing them changes nothing in the
        run."""
        random = torch.Generator(self.device).manual_seed(seed)
        noise = torch.randn((n, self.config.latent_dim), generator=random, device=self.device)
        return torch.cat([self.average(part) for part in noise.split(256)]).cpu()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on: tensors, and facts for JSON."""
        tensors = {"random": self.random.get_state()}
        for name, module in self._modules().items():
            tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for name, optimizer in self._optimizers().items():
            tensors |= checkpoint.pack_optimizer(optimizer, name)
        tensors |= {f"meter.{name}": value for name, value in self.meter.sums.items()}
        return tensors, {
            "step": self.steps_done,
            "meter_counts": self.meter.counts,
            "data": self.source.identity,
        }

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Put back what ``state`` gave: the run goes on as if it had never stopped."""
        self.random.set_state(tensors["random"])
        for name, module in self._modules().items():
            module.load_state_dict(checkpoint.under(name, tensors))
        for name, optimizer in self._optimizers().items():
            checkpoint.unpack_optimizer(optimizer, name, tensors)
        sums = checkpoint.under("meter", tensors)
        self.meter.counts = dict(facts["meter_counts"])
        self.meter.sums = {name: sums[name].to(self.device) for name in self.meter.counts}
        self.steps_done = facts["step"]

    def _modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "critic": self.critic, "average": self.average}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            "generator_optimizer": self.generator_optimizer,
            "critic_optimizer": self.critic_optimizer,
        }


def make_optimizer(
    module: nn.Module, recipe: Recipe, clip: float | None = None
) -> torch.optim.Optimizer:
    """The optimizer that the recipe names, over all weights of ``module``, kept in [-clip, clip]
    by each of its steps."""
    if recipe.optimizer == "rmsprop":
        return RMSprop(module.parameters(), lr=recipe.lr, weight_clip=clip)
    return Adam(module.parameters(), lr=recipe.lr, betas=recipe.betas, weight_clip=clip)


def gradient_norm(gradients: Iterable[Tensor]) -> Tensor:
    """The 2-norm over all of ``gradients`` together, a scalar."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, over: int) -> None:
    """Move ``average``, batch norm statistics too, 1/over of the way to ``module``, in place."""
    means = [t for t in average.state_dict().values() if t.is_floating_point()]
    values = [t for t in module.state_dict().values() if t.is_floating_point()]
    torch._foreach_lerp_(means, values, 1 / over)
