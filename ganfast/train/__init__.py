"""A minimal GAN trainer on ganfast's losses: ``train(TrainConfig(game="wgan-gp", data="digits",
out="runs/x"))``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ganfast.train.config import TrainConfig

if TYPE_CHECKING:
    from ganfast.train.run import Run, train

__all__ = ["Run", "TrainConfig", "train"]


def __getattr__(name: str) -> Any:
    # The settings of a run are known without torch; what runs needs it.
    if name in ("Run", "train"):
        value = getattr(importlib.import_module("ganfast.train.run"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'ganfast.train' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
