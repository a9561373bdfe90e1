"""A critic's whole step on any device: eager, through torch.compile, and as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganfast
import ganfast.functional as GF
from benchmarks import networks
from benchmarks.steps.cases import TOLERANCE, flops_forward
from benchmarks.steps.critic_step import BETAS, PENALTY_RATE, WEIGHT, WGAN_GP
from ganfast import optim
from ganfast.bench.case import COMPILED, GANFAST, Case, ErrorOf, Provider, multiplying

R1, GAMMA = "R1", 10.0
GAMES = (WGAN_GP, R1)
EAGER, EAGER_CAPTURED = "eager", "eager, captured"
TF32_TOLERANCE = 0.05
"""Of convolutions on a GPU, which take TF32 unless told otherwise, as here and in training."""

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def between(real: Tensor, fake: Tensor) -> Tensor:
    eps = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, dtype=real.dtype)
    return eps * real + (1 - eps) * fake


def written(game: str, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The loss as people write it, by torch.autograd."""
    if game == R1:
        real = real.detach().requires_grad_()
        scores = critic(real)
        (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
        penalty = GAMMA / 2 * gradient.square().flatten(1).sum(1).mean()
        return F.softplus(-scores).mean() + F.softplus(critic(fake)).mean() + penalty
    points = between(real, fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    penalty = WEIGHT * (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()
    return critic(fake).mean() - critic(real).mean() + penalty


def functional(game: str, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The same by torch.func: torch.autograd's inner gradient cannot be compiled."""
    points = real if game == R1 else between(real, fake)
    gradient = torch.func.grad(lambda x: critic(x).sum())(points).flatten(1)
    if game == R1:
        penalty = GAMMA / 2 * gradient.square().sum(1).mean()
        return F.softplus(-critic(real)).mean() + F.softplus(critic(fake)).mean() + penalty
    penalty = WEIGHT * (gradient.norm(2, dim=1) - 1).square().mean()
    return critic(fake).mean() - critic(real).mean() + penalty


def own(game: str, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """ganfast's."""
    if game == R1:
        real = real.detach().requires_grad_()
        scores = critic(real)
        loss: Tensor = GF.discriminator_loss(scores, critic(fake))
        return loss + GF.r1_penalty(scores, real, gamma=GAMMA)
    loss = GF.discriminator_loss(critic(real), critic(fake), game="wasserstein")
    return loss + GF.gradient_penalty(critic, real, fake, weight=WEIGHT)


class DeviceStep:
    """Loss, backward and Adam of a critic; calling it takes the whole step.

    By EAGER, COMPILED or GANFAST; ``captured``: in a CUDA graph.
    """

    def __init__(self, game: str, by: str, network: str, *sides: Tensor, captured: bool) -> None:
        self.real, self.fake = sides
        self.critic: nn.Module = networks.critic(network).to(self.real)
        self.start = {name: x.clone() for name, x in self.critic.state_dict().items()}
        adam = optim.Adam if by == GANFAST else torch.optim.Adam
        self.optimizer: torch.optim.Optimizer = adam(
            self.critic.parameters(), lr=PENALTY_RATE, betas=BETAS, capturable=captured
        )
        loss = {EAGER: written, COMPILED: functional, GANFAST: own}[by]
        self.loss: Loss = partial(loss, game)
        if by == COMPILED:
            self.loss = torch.compile(self.loss, dynamic=False, fullgraph=True)
        self.run: Callable[..., object] = self.step
        if captured:
            changed = (self.critic, self.optimizer)
            self.run = ganfast.capture(self.step, *sides, restore=changed)

    def step(self, real: Tensor, fake: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.critic, real, fake)
        loss.backward()
        self.optimizer.step()
        return loss

    def __call__(self) -> DeviceStep:
        self.run(self.real, self.fake)
        return self

    def gradients(self, fake: Tensor) -> list[Tensor]:
        """Of the weights at their start, for other fakes; the critic goes on from where it was.

        With fakes equal to the real samples every point between them is known, whoever draws eps.
        """
        now = {name: x.clone() for name, x in self.critic.state_dict().items()}
        self.critic.load_state_dict(self.start)
        self.run(self.real, fake)
        found = [p.grad.double() for p in self.critic.parameters() if p.grad is not None]
        self.critic.load_state_dict(now)
        return found


def device_step(game: str, network: str, batch: int, *, captured: bool = False) -> Case:
    """One step of the critic; ``captured``: ganfast's as one CUDA graph, against eager steps and
    against a graph of the same in plain torch."""

    def inputs(device: torch.device, seed: int) -> tuple[Tensor, ...]:
        return tuple(side.to(device) for side in networks.samples(network, batch))

    def provider(by: str, *, captured: bool = False) -> Provider:
        make = partial(DeviceStep, game, by, network, captured=captured)
        tolerance = TOLERANCE if network == networks.MLP else TF32_TOLERANCE
        return Provider(make, tolerance, optional=by == COMPILED)

    providers = {EAGER: provider(EAGER)}
    if captured:
        providers[EAGER_CAPTURED] = provider(EAGER, captured=True)
    else:
        providers[COMPILED] = provider(COMPILED)
    providers[GANFAST] = provider(GANFAST, captured=captured)

    def error_of(real: Tensor, fake: Tensor) -> ErrorOf:
        same = real.double()  # R1 looks at real samples alone
        wide = DeviceStep(game, EAGER, network, same, fake.double(), captured=False)
        exact = wide.gradients(same)

        def error(_: str, step: DeviceStep) -> float:
            pairs = zip(step.gradients(step.real), exact, strict=True)
            off = sum(float((found - right).square().sum()) for found, right in pairs)
            return (off / sum(float(right.square().sum()) for right in exact)) ** 0.5

        return error

    return Case(
        name=f"{game} {network} {batch}{' captured' * captured}".lower().replace(" ", "-"),
        section=f"{game} steps{', in a CUDA graph' * captured}",
        label=f"{network}, batch {batch}",
        inputs=inputs,
        providers=providers,
        error_of=error_of,
        limit=partial(multiplying, 1024, torch.float32, flops(game, network, batch)),
        seconds=1.0,
        rotates=False,
    )


@cache
def flops(game: str, network: str, batch: int) -> float:
    """3 passes for each side; 4 for the penalty, of which R1's shares its forward pass."""
    return flops_forward(network, batch) * (9.0 if game == R1 else 10.0)
