"""FID over all processes of accelerate: each looks at its share, and compute() joins them.

pip install accelerate
python examples/accelerate_fid.py
torchrun --nproc-per-node 2 examples/accelerate_fid.py
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import ganfast.functional as GF
from ganfast.metrics import FrechetInceptionDistance, load_extractor
from ganfast.optim import Adam


def as_pictures(flat: Tensor) -> Tensor:
    """uint8, (n, 3, 8, 8)."""
    pixels = ((flat.detach() + 1) * 127.5).round().to(torch.uint8)
    return pixels.view(-1, 1, 8, 8).expand(-1, 3, -1, -1)


def main(epochs: int, generated: int) -> None:
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(accelerator.process_index)
    images = (torch.tensor(load_digits().images, dtype=torch.float32) / 8 - 1).flatten(1)
    generator = nn.Sequential(nn.Linear(16, 256), nn.LeakyReLU(0.2), nn.Linear(256, 64), nn.Tanh())
    critic = nn.Sequential(nn.Linear(64, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
    g_optimizer = Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.99))
    d_optimizer = Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.99))
    loader = DataLoader(TensorDataset(images), batch_size=64, shuffle=True)
    generator, critic, g_optimizer, d_optimizer, loader = accelerator.prepare(
        generator, critic, g_optimizer, d_optimizer, loader
    )

    # The real side once. Not by the loader, whose shares repeat images to be of one size: each
    # process takes its own, and FID doesn't ask that they are equal.
    # For photographs leave `extractor` out: then it is the published FID Inception.
    fid = FrechetInceptionDistance(extractor=load_extractor("digits"), reset_real_features=False)
    rank, processes = accelerator.process_index, accelerator.num_processes
    fid.update(as_pictures(images[rank::processes]), real=True)
    for epoch in range(epochs):
        for (real,) in loader:
            real = real.clone().requires_grad_()
            noise = torch.randn(len(real), 16)
            with torch.no_grad():
                fake = generator(noise)
            scores = critic(torch.cat([real, fake]))  # one pass, as DistributedDataParallel asks
            real_scores, fake_scores = scores.split(len(real))
            d_optimizer.zero_grad()
            accelerator.backward(GF.discriminator_loss(real_scores, fake_scores))
            d_optimizer.step()

            g_optimizer.zero_grad()
            accelerator.backward(GF.generator_loss(critic(generator(noise))))
            g_optimizer.step()
        with torch.no_grad():
            share = len(range(rank, generated, processes))
            fid.update(as_pictures(generator(torch.randn(share, 16))), real=False)
        distance = fid.compute().item()  # of all processes; all of them call it
        fid.reset()
        accelerator.print(f"epoch {epoch}: FID of digits {distance:.1f}", flush=True)
    accelerator.end_training()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="FID with accelerate")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--generated", type=int, default=2000)
    main(**vars(parser.parse_args()))
