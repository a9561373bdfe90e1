"""A minimal GAN trainer on ganfast's losses.

train(TrainConfig(game="wgan-gp", data="digits", out="runs/x"))

With networks and samples of your own, either by ``train(config, source=..., generator=...,
critic=...)``, with all that a run leaves in its folder, or step by step:

trainer = Trainer(generator, critic, as_source(images), Recipe("hinge", latent_dim=128))
trainer.step()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganfast._lazy import lazy_names
from ganfast.train.config import TrainConfig
from ganfast.train.recipe import PRESETS, Penalty, Recipe

if TYPE_CHECKING:
    from ganfast.train.loop import Trainer
    from ganfast.train.run import Run, train
    from ganfast.train.source import Images, as_source

__all__ = [
    "PRESETS",
    "Images",
    "Penalty",
    "Recipe",
    "Run",
    "TrainConfig",
    "Trainer",
    "as_source",
    "train",
]

# The settings of a run are known without torch; what runs needs it.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Images": "ganfast.train.source",
        "Run": "ganfast.train.run",
        "Trainer": "ganfast.train.loop",
        "as_source": "ganfast.train.source",
        "train": "ganfast.train.run",
    },
)
