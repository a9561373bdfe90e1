"""A minimal GAN trainer on ganfast's losses: ``train(TrainConfig(game="wgan-gp", data="digits",
out="runs/x"))``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganfast._lazy import lazy_names
from ganfast.train.config import TrainConfig

if TYPE_CHECKING:
    from ganfast.train.run import Run, train

__all__ = ["Run", "TrainConfig", "train"]

# The settings of a run are known without torch; what runs needs it.
__getattr__, __dir__ = lazy_names(
    __name__, {"Run": "ganfast.train.run", "train": "ganfast.train.run"}
)
