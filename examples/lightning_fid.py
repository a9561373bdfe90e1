"""FID, precision and recall of a GAN in Lightning's validation, logged as any other metric.

pip install lightning torchmetrics
python examples/lightning_fid.py      # a line at every validation
"""

from __future__ import annotations

import argparse

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import ganfast.functional as GF
from ganfast.compat.torchmetrics import FrechetInceptionDistance, PrecisionRecall
from ganfast.metrics import load_extractor
from ganfast.optim import Adam


class Gan(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False  # a GAN has two
        self.generator = nn.Sequential(
            nn.Linear(16, 256), nn.LeakyReLU(0.2), nn.Linear(256, 64), nn.Tanh()
        )
        self.critic = nn.Sequential(nn.Linear(64, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
        # For photographs leave `extractor` out: then it is the published FID Inception.
        extractor = load_extractor("digits")  # one for both, which looks at each batch once
        self.fid = FrechetInceptionDistance(extractor=extractor, normalize=True)
        self.manifold = PrecisionRecall(extractor=extractor, normalize=True)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        players = (self.generator, self.critic)
        return [Adam(player.parameters(), lr=1e-3, betas=(0.0, 0.99)) for player in players]

    def training_step(self, batch: list[Tensor], index: int) -> None:
        real = batch[0].clone().requires_grad_()
        g_optimizer, d_optimizer = self.optimizers()
        fake = self.generator(torch.randn(len(real), 16, device=self.device))
        scores = self.critic(real)
        d_loss = GF.discriminator_loss(scores, self.critic(fake.detach()))
        d_optimizer.zero_grad()
        self.manual_backward(d_loss + GF.r1_penalty(scores, real, gamma=0.2))
        d_optimizer.step()

        self.toggle_optimizer(g_optimizer)
        g_optimizer.zero_grad()
        self.manual_backward(GF.generator_loss(self.critic(fake)))
        g_optimizer.step()
        self.untoggle_optimizer(g_optimizer)

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        fake = self.generator(torch.randn(len(batch[0]), 16, device=self.device))
        for flat, is_real in ((batch[0], True), (fake, False)):
            pictures = ((flat + 1) / 2).view(-1, 1, 8, 8)
            for metric in (self.fid, self.manifold):
                metric.update(pictures, real=is_real)
        self.log("fid", self.fid)  # Lightning computes it at the end of the epoch, and resets it

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.manifold.compute())
        self.manifold.reset()


def main(epochs: int) -> None:
    lightning.seed_everything(0)
    images = (torch.tensor(load_digits().images, dtype=torch.float32) / 8 - 1).flatten(1)
    loader = DataLoader(TensorDataset(images), batch_size=128)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Gan(), loader, loader)
    found = trainer.callback_metrics
    print(f"FID of digits {found['fid']:.1f}, recall {found['recall']:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="FID in Lightning")
    parser.add_argument("--epochs", type=int, default=40)
    main(**vars(parser.parse_args()))
