"""The trainer against loops written by hand: `python -m benchmarks.trainer`.

1. What the loop costs: a step of Trainer over the same step in the barest loop, which has the same
   networks, losses, optimizers and draws, and neither log nor average.
2. Fewer passes: non-saturating loss with R1 at every 16th step in the trainer, against WGAN-GP as
   the well-known scripts have it, in plain torch with five critic steps to one of the generator.

Processor time of one thread; the two sides alternate, and a figure is the median of their ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import ganfast.functional as GF
from ganfast.train import TrainConfig, Trainer, as_source
from ganfast.train.data import digits
from ganfast.train.networks import build
from ganfast.train.run import new_trainer
from ganfast.train.source import Source

Step = Callable[[], object]


def ratio(one: Step, two: Step, rounds: int, steps: int) -> tuple[float, float, float]:
    """The median over ``rounds`` of the time of ``one`` over that of ``two``, and its quartiles."""
    found = []
    for number in range(rounds + 1):  # the first round warms up
        seconds = {}
        for step in (one, two) if number % 2 else (two, one):
            start = time.process_time()
            for _ in range(steps):
                step()
            seconds[step] = time.process_time() - start
        found.append(seconds[one] / seconds[two])
    low, middle, high = statistics.quantiles(found[1:], n=4)
    return middle, low, high


def images(side: int = 32, count: int = 512) -> Source:
    random = torch.Generator().manual_seed(0)
    shape = (count, 3, side, side)
    return as_source(torch.randint(0, 256, shape, dtype=torch.uint8, generator=random))


def trainer(source: Source, **settings: object) -> Trainer:
    config = TrainConfig(**{"data": "folder:none", **settings})  # type: ignore[arg-type]
    return new_trainer(config, source)


def bare(made: Trainer) -> Step:
    """A step of the non-saturating game with the networks and optimizers of ``made``."""
    critic, generator, game = made.critic, made.generator, made.recipe.loss

    def step() -> None:
        real = made.real()
        with torch.no_grad():
            fake = generator(made.noise(made.recipe.batch_size))
        loss = GF.discriminator_loss(critic(real), critic(fake), game=game)
        made.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        made.critic_optimizer.step()
        critic.requires_grad_(False)
        fake = generator(made.noise(made.recipe.batch_size))
        loss = GF.generator_loss(critic(fake), game=game)
        made.generator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        made.generator_optimizer.step()
        critic.requires_grad_(True)

    return step


def wgan_gp_script(source: Source, width: int, batch: int = 64, latent: int = 128) -> Step:
    """One generator step after five critic steps of WGAN-GP (arXiv:1704.00028), in torch alone."""
    generator, critic = build(source.shape, latent, width, 0)
    players = [
        torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.0, 0.9))
        for network in (generator, critic)
    ]
    random = torch.Generator().manual_seed(0)

    def penalty(real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(len(real), 1, 1, 1)
        between = (share * real + (1 - share) * fake).requires_grad_(True)
        scores = critic(between)
        (gradient,) = torch.autograd.grad(
            scores, between, torch.ones_like(scores), create_graph=True, retain_graph=True
        )
        return ((gradient.view(len(real), -1).norm(2, dim=1) - 1) ** 2).mean() * 10

    def step() -> None:
        for _ in range(5):
            real = source.train.batch(batch, random)
            fake = generator(torch.randn(batch, latent)).detach()
            players[1].zero_grad()
            loss = critic(fake).mean() - critic(real).mean() + penalty(real, fake)
            loss.backward()
            players[1].step()
        players[0].zero_grad()
        loss = -critic(generator(torch.randn(batch, latent))).mean()
        loss.backward()
        players[0].step()

    return step


def overhead(rounds: int = 10, steps: int = 3, width: int = 64) -> list[str]:
    lines = []
    for name, source, count in (
        ("digits 8x8, width 32", digits(), 8 * steps),
        (f"DCGAN 32x32, width {width}", images(), steps),
    ):
        made = trainer(source, width=width if name[0] == "D" else 32)
        middle, low, high = ratio(made.step, bare(made), rounds, count)
        lines.append(f"{name}: loop / bare {middle:.3f} ({low:.3f} to {high:.3f})")
    return lines


def fewer_passes(rounds: int = 6, width: int = 64) -> list[str]:
    source = images()
    made = trainer(
        source, width=width, latent_dim=128, penalty="r1", penalty_every=16, norm_d="none"
    )

    def sixteen() -> None:  # one of them with the penalty
        for _ in range(16):
            made.step()

    middle, low, high = ratio(wgan_gp_script(source, width), sixteen, rounds, 1)
    return [
        f"DCGAN 32x32, width {width}: generator steps, NS + lazy R1 over WGAN-GP as scripts have "
        f"it: {16 * middle:.2f} ({16 * low:.2f} to {16 * high:.2f})",
        f"the same for critic steps (five of theirs to a generator step): {16 * middle / 5:.2f}",
    ]


def main() -> None:
    torch.set_num_threads(1)
    for line in [*overhead(), *fewer_passes()]:
        print(line, flush=True)


if __name__ == "__main__":
    main()
