"""Clipping and the optimizers' steps; C++ itself reads the lists (csrc/cpu/module_optim.cpp)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from ganfast import _cpu


def clip_weights_(tensors: Sequence[Tensor], bound: float, count: bool) -> Tensor | None:
    """As in the reference; Refusal if a tensor is not dense."""
    at_bound = _cpu.clip_weights(tensors, bound, count)
    return torch.tensor(at_bound, device="cpu") if count else None


def rmsprop(optimizer: Optimizer) -> None:
    """As in the reference; NoState before the first step."""
    _cpu.rmsprop(optimizer)


def rmsprop_refused(optimizer: Optimizer) -> list[list[Tensor]]:
    """As in the reference."""
    refused: list[list[Tensor]] = _cpu.rmsprop_refused(optimizer)
    return refused


def adam(optimizer: Optimizer) -> None:
    """As in the reference; NoState before the first step."""
    _cpu.adam(optimizer)


def adam_refused(optimizer: Optimizer) -> list[list[Tensor]]:
    """As in the reference."""
    refused: list[list[Tensor]] = _cpu.adam_refused(optimizer)
    return refused
