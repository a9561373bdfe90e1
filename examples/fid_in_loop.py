"""Fréchet distance while a generator trains: the real side once, no image written.

python examples/fid_in_loop.py      # under a minute; a line at every evaluation
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.metrics import FrechetInceptionDistance, load_extractor
from ganfast.optim import Adam


def as_pictures(flat: Tensor) -> Tensor:
    """uint8, (n, 3, 8, 8)."""
    pixels = ((flat.detach() + 1) * 127.5).round().to(torch.uint8)
    return pixels.view(-1, 1, 8, 8).expand(-1, 3, -1, -1)


def main(steps: int, every: int) -> None:
    torch.manual_seed(0)
    images = (torch.tensor(load_digits().images, dtype=torch.float32) / 8 - 1).flatten(1)
    generator = nn.Sequential(nn.Linear(16, 256), nn.LeakyReLU(0.2), nn.Linear(256, 64), nn.Tanh())
    critic = nn.Sequential(nn.Linear(64, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
    g_optimizer = Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.99))
    d_optimizer = Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.99))

    # For photographs leave `extractor` out: then it is the published FID Inception.
    fid = FrechetInceptionDistance(extractor=load_extractor("digits"), reset_real_features=False)
    fid.update(as_pictures(images), real=True)
    for step in range(steps + 1):
        if step % every == 0:
            with torch.no_grad():
                fid.update(as_pictures(generator(torch.randn(2000, 16))), real=False)
            print(f"step {step:5d}  FID of digits {fid.compute().item():.1f}", flush=True)
            fid.reset()  # forgets the generated images alone

        real = images[torch.randint(len(images), (64,))].requires_grad_()
        fake = generator(torch.randn(64, 16))
        real_scores = critic(real)
        d_loss = GF.discriminator_loss(real_scores, critic(fake.detach()))
        d_loss = d_loss + GF.r1_penalty(real_scores, real, gamma=0.2)
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()

        critic.requires_grad_(False)
        g_loss = GF.generator_loss(critic(fake))
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        critic.requires_grad_(True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="FID in a training loop")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--every", type=int, default=1000)
    main(**vars(parser.parse_args()))
