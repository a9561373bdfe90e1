"""R3GAN's recipe (arXiv:2501.05441) on a grid of 25 Gaussians: real and fake in pairs, R1 + R2.

python examples/r3gan.py            # about a minute; says how many of the modes are reached
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.optim import Adam

BATCH, GAMMA = 256, 0.02
CENTRES = torch.cartesian_prod(torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 5))


def grid(n: int) -> Tensor:
    return CENTRES[torch.randint(len(CENTRES), (n,))] + 0.02 * torch.randn(n, 2)


def mlp(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, 128),
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
    rates = [
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for optimizer in (g_optimizer, d_optimizer)
    ]
    for step in range(steps):
        real = grid(BATCH).requires_grad_()
        fake = generator(torch.randn(BATCH, 2)).detach().requires_grad_()
        real_scores, fake_scores = critic(real), critic(fake)
        d_loss = GF.discriminator_loss(real_scores, fake_scores, game="relativistic")
        # Both penalties on the graphs that are there: no forward more.
        d_loss = d_loss + GF.r1_r2_penalty(real_scores, real, fake_scores, fake, gamma=GAMMA)
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()

        critic.requires_grad_(False)
        scores = critic(generator(torch.randn(BATCH, 2)))
        g_loss = GF.generator_loss(scores, real=critic(grid(BATCH)), game="relativistic")
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        critic.requires_grad_(True)
        for rate in rates:
            rate.step()
        if step % 500 == 0:
            print(f"step {step:5d}  D {d_loss.item():.3f}  G {g_loss.item():.3f}", flush=True)

    with torch.no_grad():
        to_centres = torch.cdist(generator(torch.randn(2500, 2)), CENTRES)
    nearest, mode = to_centres.min(dim=1)
    there = mode[nearest < 0.08].bincount(minlength=25)
    print(f"{(there > 20).sum()} of 25 modes, {there.sum() / 25:.0f} % at one")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="R3GAN's recipe on a grid")
    parser.add_argument("--steps", type=int, default=5000)
    main(**vars(parser.parse_args()))
