"""A minimal GAN trainer on ganfast's losses: ``train(TrainConfig(game="wgan-gp", data="digits",
out="runs/x"))``."""

from ganfast.train.config import TrainConfig
from ganfast.train.run import Run, train

__all__ = ["Run", "TrainConfig", "train"]
