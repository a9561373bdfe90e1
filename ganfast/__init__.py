"""Fused losses and evaluation for GANs in PyTorch, each proven against a float64 reference.

    import ganfast.functional as GF

    d_loss = GF.discriminator_loss(D(real), D(fake.detach()), game="hinge")
    g_loss = GF.generator_loss(D(fake), game="hinge")

Importing ganfast imports torch and nothing that needs a GPU; ``compat``, ``linalg``,
``metrics``, ``optim`` and ``train`` are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ganfast import functional, games
from ganfast._dispatch import backend, explain
from ganfast.nn import GANLoss, GradientPenalty

if TYPE_CHECKING:
    from ganfast import compat, linalg, metrics, optim, train

__all__ = [
    "GANLoss",
    "GradientPenalty",
    "backend",
    "compat",
    "explain",
    "functional",
    "games",
    "linalg",
    "metrics",
    "optim",
    "train",
]

_LAZY = ("compat", "linalg", "metrics", "optim", "train")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"ganfast.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("ganfast")
    raise AttributeError(f"module 'ganfast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, "__version__"])
