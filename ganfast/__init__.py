"""Fused losses and evaluation for GANs in PyTorch, each proven against a float64 reference.

    import ganfast.functional as GF

    d_loss = GF.discriminator_loss(D(real), D(fake.detach()), game="hinge")
    g_loss = GF.generator_loss(D(fake), game="hinge")

Importing ganfast imports nothing heavy, torch included: each name brings what it needs when it is
first used. So the command line can answer at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganfast import compat, functional, games, linalg, metrics, optim, train
    from ganfast import errors as errors
    from ganfast import nn as nn
    from ganfast._dispatch import backend, explain
    from ganfast.balancer import LossBalancer
    from ganfast.captured import capture
    from ganfast.lecam import LeCAM
    from ganfast.nn import GANLoss, GradientPenalty

__all__ = [
    "GANLoss",
    "GradientPenalty",
    "LeCAM",
    "LossBalancer",
    "backend",
    "capture",
    "compat",
    "explain",
    "functional",
    "games",
    "linalg",
    "metrics",
    "optim",
    "train",
]

_MODULES = ("compat", "errors", "functional", "games", "linalg", "metrics", "nn", "optim", "train")
"""More than ``__all__`` has: ``from ganfast import *`` must not put its ``nn`` before torch's."""

_HOMES = {
    "GANLoss": "ganfast.nn",
    "GradientPenalty": "ganfast.nn",
    "LeCAM": "ganfast.lecam",
    "LossBalancer": "ganfast.balancer",
    "backend": "ganfast._dispatch",
    "capture": "ganfast.captured",
    "explain": "ganfast._dispatch",
}
"""Where the names are that are no modules."""


def __getattr__(name: str) -> Any:
    value: Any
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"ganfast.{name}")
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version("ganfast")
    else:
        raise AttributeError(f"module 'ganfast' has no attribute {name!r}")
    globals()[name] = value  # the next look finds it without a call
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_HOMES, "__version__"})
