"""An autoencoder with a PatchGAN critic and VQGAN's adaptive weight, on crops of photographs.

The weight needs the gradients of both losses; it takes each once at the output, joins them, and
walks back through the decoder once.

    python examples/vqgan_adversarial.py     # about a minute; prints reconstruction and weight
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.optim import Adam


def crops(n: int, photographs: list[Tensor], side: int = 32) -> Tensor:
    """(n, 3, side, side) in [-1, 1]."""
    made = []
    for number in range(n):
        picture = photographs[number % len(photographs)]
        top = torch.randint(picture.shape[1] - side, ()).item()
        left = torch.randint(picture.shape[2] - side, ()).item()
        made.append(picture[:, top : top + side, left : left + side])
    return torch.stack(made)


class Autoencoder(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, 8, 4, 2, 1)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8, width, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.SiLU(),
        )
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.decoder(self.encoder(x)))


def patch_critic(width: int = 32) -> nn.Module:
    """A score for each patch."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 1, 3, padding=1),
    )


def main(steps: int) -> None:
    torch.manual_seed(0)
    loaded = load_sample_images().images
    photographs = [torch.tensor(p).permute(2, 0, 1).float() / 127.5 - 1 for p in loaded]
    model, critic = Autoencoder(), patch_critic()
    optimizer = Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.9))
    d_optimizer = Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    for step in range(steps):
        x = crops(16, photographs)
        output = model(x)
        reconstruction = F.l1_loss(output, x)
        critic.requires_grad_(False)
        adversarial = GF.generator_loss(critic(output), game="hinge")
        loss, weight = GF.adaptive_weight(
            reconstruction, adversarial, output, last_layer=model.last.weight, weight=0.1
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        critic.requires_grad_(True)
        d_loss = GF.discriminator_loss(critic(x), critic(output.detach()), game="hinge")
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        if step % 100 == 0:
            print(f"step {step:4d}  L1 {reconstruction.item():.3f}  weight {weight.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="an autoencoder with an adversary")
    parser.add_argument("--steps", type=int, default=800)
    main(**vars(parser.parse_args()))
