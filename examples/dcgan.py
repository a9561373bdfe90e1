"""A DCGAN on scikit-learn's handwritten digits, with the non-saturating game and lazy R1.

python examples/dcgan.py            # about a minute on a laptop; writes dcgan.png
"""

from __future__ import annotations

import argparse

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.optim import Adam

NOISE, EVERY = 32, 8


def digits() -> Tensor:
    """(1797, 1, 16, 16) in [-1, 1]: the 8 x 8 digits, twice as large."""
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    return nn.functional.interpolate(images, scale_factor=2, mode="bilinear")


def networks(width: int = 32) -> tuple[nn.Module, nn.Module]:
    generator = nn.Sequential(
        nn.ConvTranspose2d(NOISE, 2 * width, 4),  # 4 x 4
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1),  # 8 x 8
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, 2, 1),  # 16 x 16
        nn.Tanh(),
    )
    critic = nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 1, 4),  # a logit: no sigmoid
    )
    return generator, critic


def main(steps: int, out: str) -> None:
    torch.manual_seed(0)
    images = digits()
    generator, critic = networks()
    g_optimizer = Adam(generator.parameters(), lr=5e-4, betas=(0.5, 0.99))
    d_optimizer = Adam(critic.parameters(), lr=5e-4, betas=(0.5, 0.99))
    for step in range(steps):
        due = step % EVERY == 0
        real = images[torch.randint(len(images), (64,))].requires_grad_(due)
        fake = generator(torch.randn(64, NOISE, 1, 1))
        real_scores = critic(real)
        d_loss = GF.discriminator_loss(real_scores, critic(fake.detach()), label_smoothing=0.1)
        if due:  # on the graph of the scores that are there, EVERY times as heavy
            d_loss = d_loss + GF.r1_penalty(real_scores, real, gamma=0.1, every=EVERY)
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()

        critic.requires_grad_(False)  # its gradients are not needed here
        g_loss = GF.generator_loss(critic(fake))
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        critic.requires_grad_(True)
        if step % 100 == 0:
            print(f"step {step:5d}  D {d_loss.item():.3f}  G {g_loss.item():.3f}", flush=True)

    with torch.no_grad():
        sheet = generator.eval()(torch.randn(64, NOISE, 1, 1)).view(8, 8, 16, 16)
    pixels = (sheet.permute(0, 2, 1, 3).reshape(128, 128) + 1) * 127.5
    Image.fromarray(pixels.round().to(torch.uint8).numpy()).resize((512, 512)).save(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a DCGAN on digits")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", default="dcgan.png")
    main(**vars(parser.parse_args()))
