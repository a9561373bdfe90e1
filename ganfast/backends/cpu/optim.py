"""Clipping and the optimizers' steps; C++ itself reads the lists (csrc/cpu/module_optim.cpp)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ganfast import _cpu
from ganfast.errors import NoState, Refusal

_UNSUPPORTED = (
    "it takes plain dense CPU tensors, each with its gradient and state of the same dtype and "
    "layout, and neither capturable nor differentiable"
)


def clip_weights_(tensors: list[Tensor], bound: float, count: bool) -> Tensor | None:
    """As in the reference. Refusal if a tensor is no plain memory."""
    at_bound = _cpu.clip_weights(tensors, bound, count, torch.get_num_threads())
    if at_bound is None:
        raise Refusal(_UNSUPPORTED)
    return torch.tensor(at_bound, device="cpu") if count else None


def rmsprop(optimizer: Optimizer) -> None:
    _check(_cpu.rmsprop(*_call(optimizer)))


def adam(optimizer: Optimizer) -> None:
    _check(_cpu.adam(*_call(optimizer)))


def _check(outcome: int) -> None:
    if outcome == 1:
        raise NoState
    if outcome == 2:
        raise Refusal(_UNSUPPORTED)


def _call(optimizer: Optimizer) -> tuple[Any, ...]:
    own = vars(optimizer)
    return (
        optimizer.param_groups,
        optimizer.state,
        own.get("grad_scale"),
        own.get("found_inf"),
        torch.get_num_threads(),
    )
