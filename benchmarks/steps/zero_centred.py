"""A critic's step with R1 and R2: on the graph of the scores, every few steps, approximated."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import ganfast.functional as GF
from benchmarks import networks
from benchmarks.steps.critic_step import BACKWARD, FORWARD, LOSS, UPDATE, Parts, shares_of
from benchmarks.steps.providers import COMPILED_LOSS
from ganfast import optim
from ganfast.bench.case import COMPILED, GANFAST, Case, ErrorOf, Limit, Provider

PLAIN, R1, BOTH, APPROXIMATE = "no penalty", "R1", "R1 + R2", "approximate R1"
KINDS = (R1, BOTH, APPROXIMATE)
RECIPE = "the recipe"
GAMMA, SIGMA, RATE = 1.0, 1e-2, 1e-4


class PenaltyStep:
    """Forward of both sides, loss with its penalty, backward and Adam; the recipe is R3GAN's in
    plain torch, or APT's, and the compiler's R1 is by torch.func, whose forward gives the scores.
    ``every``: a call is as many steps, the first of which has the penalty."""

    def __init__(self, kind: str, by: str, network: str, batch: int, every: int = 1) -> None:
        self.critic = networks.critic(network)
        self.real, self.fake = networks.samples(network, batch)
        self.kind, self.by, self.every = kind, by, every
        self.due = True
        self.start = {name: x.clone() for name, x in self.critic.state_dict().items()}
        adam = optim.Adam if by == GANFAST else torch.optim.Adam
        self.optimizer = adam(self.critic.parameters(), lr=RATE, betas=(0.0, 0.9))
        self.parts: Parts = {FORWARD: self.forward, LOSS: self.compare}
        if by == COMPILED:
            fast: Any = torch.compile(self.whole, dynamic=False, fullgraph=True)
            self.parts = {COMPILED_LOSS: partial(self.compiled, fast)}
        self.parts |= {BACKWARD: self.backward, UPDATE: self.optimizer.step}

    def __call__(self) -> PenaltyStep:
        for step in range(self.every):
            self.due = step == 0
            for part in self.parts.values():
                part()
        self.due = True
        return self

    sides: tuple[Tensor, Tensor, Tensor, Tensor]
    loss: Tensor

    def forward(self) -> None:
        real = self.real.clone().requires_grad_(self.due and self.kind in (R1, BOTH))
        fake = self.fake.clone().requires_grad_(self.due and self.kind == BOTH)
        self.sides = self.critic(real), real, self.critic(fake), fake

    def compare(self) -> None:
        make = self.own if self.by == GANFAST else self.recipe
        self.loss = make(self.kind if self.due else PLAIN, *self.sides)

    def compiled(self, fast: Any) -> None:
        noise = torch.empty(self.real.shape).normal_(generator=seeded()).to(self.real)
        self.loss = fast(self.kind if self.due else PLAIN, self.real, self.fake, noise)

    def backward(self) -> None:
        self.optimizer.zero_grad()
        self.loss.backward()

    def whole(self, kind: str, real: Tensor, fake: Tensor, noise: Tensor) -> Tensor:
        a, of_real = self.scores(real, kind in (R1, BOTH))
        b, of_fake = self.scores(fake, kind == BOTH)
        loss = F.softplus(-(a - b)).mean()
        for gradient in (of_real, of_fake):
            if gradient is not None:
                penalty = gradient.square().flatten(1).sum(1).mean()
                loss = loss + GAMMA / 2 * self.every * penalty
        if kind == APPROXIMATE:
            difference = (self.critic(real + SIGMA * noise) - a).square().mean()
            loss = loss + GAMMA / 2 / SIGMA**2 * difference
        return loss

    def scores(self, x: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
        if not with_gradient:
            return self.critic(x), None

        def total(x: Tensor) -> tuple[Tensor, Tensor]:
            scores = self.critic(x)
            return scores.sum(), scores

        gradient, scores = torch.func.grad(total, has_aux=True)(x)
        return scores, gradient

    def own(self, kind: str, a: Tensor, real: Tensor, b: Tensor, fake: Tensor) -> Tensor:
        loss: Tensor = GF.discriminator_loss(a, b, game="relativistic")
        if kind == R1:
            return loss + GF.r1_penalty(a, real, gamma=GAMMA, every=self.every)
        if kind == BOTH:
            return loss + GF.r1_r2_penalty(a, real, b, fake, gamma=GAMMA, every=self.every)
        if kind == APPROXIMATE:
            return loss + GF.finite_difference_penalty(
                self.critic, real, sigma=SIGMA, gamma=GAMMA, generator=seeded(), inputs_scores=a
            )
        return loss

    def recipe(self, kind: str, a: Tensor, real: Tensor, b: Tensor, fake: Tensor) -> Tensor:
        loss = F.softplus(-(a - b)).mean()
        if kind == APPROXIMATE:
            noise = torch.empty(real.shape).normal_(generator=seeded()).to(real)
            difference = (self.critic(real + SIGMA * noise) - a).square().mean()
            return loss + GAMMA / 2 / SIGMA**2 * difference
        for scores, x in {R1: [(a, real)], BOTH: [(a, real), (b, fake)]}.get(kind, []):
            (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
            loss = loss + GAMMA / 2 * self.every * gradient.square().flatten(1).sum(1).mean()
        return loss

    def gradients(self) -> list[Tensor]:
        """Of the weights at their start; the step goes on from where it was."""
        now = {name: x.clone() for name, x in self.critic.state_dict().items()}
        self.critic.load_state_dict(self.start)
        for name, part in self.parts.items():
            if name != UPDATE:
                part()
        found = [p.grad.double() for p in self.critic.parameters() if p.grad is not None]
        self.critic.load_state_dict(now)
        return found

    def double(self) -> PenaltyStep:
        self.critic.double()
        self.start = self.critic.state_dict()
        self.real, self.fake = self.real.double(), self.fake.double()
        return self


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def penalty_step(kind: str, network: str, batch: int, every: int = 1) -> Case:
    """Against the recipe; the limit is the same step without a penalty."""

    def error_of() -> ErrorOf:
        exact = PenaltyStep(kind, RECIPE, network, batch, every).double().gradients()

        def error(_: str, found: PenaltyStep) -> float:
            pairs = zip(found.gradients(), exact, strict=True)
            off = sum(float((mine - right).square().sum()) for mine, right in pairs)
            return math.sqrt(off / sum(float(right.square().sum()) for right in exact))

        return error

    def limit(device: torch.device) -> Limit:
        return Limit(PenaltyStep(PLAIN, RECIPE, network, batch, every), 1.0, 1.0)

    label = f"{kind}, every {every} steps" if every > 1 else f"{kind}, every step"
    return Case(
        name=f"{label} {network} batch {batch}".lower().replace(",", "").replace(" ", "-"),
        section="Critic steps with R1 and R2, relativistic game",
        label=f"{label}, {network}, batch {batch}",
        inputs=lambda device, seed: (),
        providers={
            # The difference of two scores loses digits in float32, in the recipe as here.
            by: Provider(
                partial(PenaltyStep, kind, by, network, batch, every),
                5e-2 if kind == APPROXIMATE else 1e-3,
                optional=by == COMPILED,
            )
            for by in (RECIPE, *((COMPILED,) if every == 1 else ()), GANFAST)
        },
        error_of=error_of,
        limit=limit,
        seconds=5.0,
        after=partial(shares_of, rounds=5) if every == 1 else None,
    )
