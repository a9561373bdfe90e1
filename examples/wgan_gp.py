"""WGAN-GP on a ring of eight Gaussians: a critic that is held near slope 1, five steps to one.

python examples/wgan_gp.py          # under a minute; says how many of the modes are reached
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.optim import Adam

MODES, CRITIC_STEPS, BATCH = 8, 5, 256
ANGLES = torch.arange(MODES) * (2 * math.pi / MODES)
CENTRES = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)


def ring(n: int) -> Tensor:
    return CENTRES[torch.randint(MODES, (n,))] + 0.05 * torch.randn(n, 2)


def mlp(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, outputs),
    )


def main(steps: int) -> None:
    torch.manual_seed(0)
    generator, critic = mlp(2), mlp(1)
    g_optimizer = Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
    d_optimizer = Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for step in range(steps):
        for _ in range(CRITIC_STEPS):
            real = ring(BATCH)
            with torch.no_grad():
                fake = generator(torch.randn(BATCH, 2))
            d_loss = GF.discriminator_loss(critic(real), critic(fake), game="wgan")
            distance = -d_loss.item()  # the critic's estimate of the earth mover's distance
            # One eps a sample, the norm of each sample: what half of the copies get wrong.
            d_loss = d_loss + GF.gradient_penalty(critic, real, fake, weight=1.0)
            d_optimizer.zero_grad()
            d_loss.backward()
            d_optimizer.step()

        critic.requires_grad_(False)
        g_loss = GF.generator_loss(critic(generator(torch.randn(BATCH, 2))), game="wgan")
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        critic.requires_grad_(True)
        if step % 100 == 0:
            print(f"step {step:5d}  distance {distance:.3f}", flush=True)

    with torch.no_grad():
        to_centres = torch.cdist(generator(torch.randn(2000, 2)), CENTRES)
    nearest, mode = to_centres.min(dim=1)
    there = mode[nearest < 0.2].bincount(minlength=MODES)
    print(f"{(there > 2000 / MODES / 5).sum()} of {MODES} modes, {there.sum() / 20:.0f} % at one")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="WGAN-GP on a ring")
    parser.add_argument("--steps", type=int, default=800)
    main(**vars(parser.parse_args()))
