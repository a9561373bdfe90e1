"""Clipping and the optimizers' steps; C++ itself reads the lists (csrc/cpu/module_optim.cpp)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ganfast import _cpu
from ganfast.reference import NO_STATE

_NOT_PLAIN = (
    "it takes plain dense CPU tensors, each with its gradient and state of the same dtype and "
    "layout, and neither capturable nor differentiable"
)
_ANSWERS = (None, NO_STATE, _NOT_PLAIN)


def clip_weights_(tensors: list[Tensor], bound: float, count: bool) -> Any:
    """As :func:`ganfast.reference.clip_weights_`; NotImplemented, having done nothing, if a tensor
    is no plain memory."""
    at_bound = _cpu.clip_weights(tensors, bound, count, torch.get_num_threads())
    if at_bound is None:
        return NotImplemented
    return torch.tensor(at_bound, device="cpu") if count else None


def rmsprop(optimizer: Optimizer) -> str | None:
    """As :func:`ganfast.reference.rmsprop`; why not, having done nothing, if it cannot."""
    return _ANSWERS[_cpu.rmsprop(*_call(optimizer))]


def adam(optimizer: Optimizer) -> str | None:
    """As :func:`ganfast.reference.adam`; why not, having done nothing, if it cannot."""
    return _ANSWERS[_cpu.adam(*_call(optimizer))]


def _call(optimizer: Optimizer) -> tuple[Any, ...]:
    own = vars(optimizer)
    return (
        optimizer.param_groups,
        optimizer.state,
        own.get("grad_scale"),
        own.get("found_inf"),
        torch.get_num_threads(),
    )
