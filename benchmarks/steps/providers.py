"""The critic step as people write it, as a compiler has it, and as ganfast does it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import ganfast.functional as GF
from benchmarks.steps import critic_step as game
from benchmarks.steps.critic_step import (
    BACKWARD,
    FORWARD,
    GRADIENT,
    LOSS,
    UPDATE,
    CriticStep,
    Parts,
)
from ganfast import optim


class EagerClip(CriticStep):
    def make_parts(self) -> Parts:
        self.optimizer = torch.optim.RMSprop(self.weights, lr=game.CLIP_RATE)
        return {
            FORWARD: self.forward,
            LOSS: self.compare,
            BACKWARD: self.backward,
            UPDATE: self.update,
        }

    def compare(self) -> None:
        self.loss = self.fake_scores.float().mean() - self.real_scores.float().mean()

    def update(self) -> None:
        self.optimizer.step()
        with torch.no_grad():
            for weight in self.weights:
                weight.clamp_(-game.BOUND, game.BOUND)


class EagerPenalty(EagerClip):
    def make_parts(self) -> Parts:
        self.optimizer: Any = torch.optim.Adam(self.weights, lr=game.PENALTY_RATE, betas=game.BETAS)
        return {
            FORWARD: self.forward,
            GRADIENT: self.penalise,
            LOSS: self.compare,
            BACKWARD: self.backward,
            UPDATE: self.optimizer.step,
        }

    def penalise(self) -> None:
        eps = torch.rand(len(self.real), *[1] * (self.real.dim() - 1))
        between = (eps * self.real + (1 - eps) * self.fake).requires_grad_()
        with self.autocast():
            scores = self.critic(between)
        (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        self.penalty = (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()

    def compare(self) -> None:
        super().compare()
        self.loss = self.loss + game.WEIGHT * self.penalty


class GanfastClip(CriticStep):
    def make_parts(self) -> Parts:
        optimizer = optim.RMSprop(self.weights, lr=game.CLIP_RATE, weight_clip=game.BOUND)

        def compare() -> None:
            self.loss = GF.discriminator_loss(
                self.real_scores, self.fake_scores, game="wasserstein"
            )

        return {
            FORWARD: self.forward,
            LOSS: compare,
            BACKWARD: self.backward,
            UPDATE: optimizer.step,
        }


class GanfastPenalty(CriticStep):
    def make_parts(self) -> Parts:
        optimizer = optim.Adam(self.weights, lr=game.PENALTY_RATE, betas=game.BETAS)

        def penalise() -> None:
            with self.autocast():
                self.penalty = GF.gradient_penalty(
                    self.critic, self.real, self.fake, weight=game.WEIGHT
                )

        def compare() -> None:
            between = GF.discriminator_loss(self.real_scores, self.fake_scores, game="wasserstein")
            self.loss = between + self.penalty

        return {
            FORWARD: self.forward,
            GRADIENT: penalise,
            LOSS: compare,
            BACKWARD: self.backward,
            UPDATE: optimizer.step,
        }

    penalty: Tensor


COMPILED_LOSS = "compiled loss"


class CompiledClip(EagerClip):
    """The loss through Inductor; backward is compiled with it, the optimizer stays eager."""

    def make_parts(self) -> Parts:
        parts = super().make_parts()
        fast: Any = torch.compile(self.whole, dynamic=False, fullgraph=True)

        def loss() -> None:
            with self.autocast():
                self.loss = fast(self.critic, self.real, self.fake)

        return {COMPILED_LOSS: loss, BACKWARD: parts[BACKWARD], UPDATE: parts[UPDATE]}

    @staticmethod
    def whole(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
        return critic(fake).float().mean() - critic(real).float().mean()


class CompiledPenalty(CompiledClip, EagerPenalty):
    """The inner gradient by torch.func: that of torch.autograd cannot be compiled."""

    @staticmethod
    def whole(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
        eps = torch.rand(len(real), *[1] * (real.dim() - 1))
        between = eps * real + (1 - eps) * fake
        gradient = torch.func.grad(lambda x: critic(x).sum())(between)
        penalty = (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()
        return CompiledClip.whole(critic, real, fake) + game.WEIGHT * penalty


STEPS: dict[tuple[str, str], type[CriticStep]] = {
    (game.WGAN_CLIP, "eager"): EagerClip,
    (game.WGAN_CLIP, "compiled"): CompiledClip,
    (game.WGAN_CLIP, "ganfast"): GanfastClip,
    (game.WGAN_GP, "eager"): EagerPenalty,
    (game.WGAN_GP, "compiled"): CompiledPenalty,
    (game.WGAN_GP, "ganfast"): GanfastPenalty,
}
