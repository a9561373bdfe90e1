"""Clipping and the optimizers' steps: torch's own operations are the specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adam import Adam  # torch.optim's own names may stand for ours by now
from torch.optim.rmsprop import RMSprop

from ganfast import _checks
from ganfast.errors import InputError


@torch.no_grad()
def clip_weights_(tensors: Sequence[Tensor], bound: float, count: bool) -> Tensor | None:
    """Brings every element into [-bound, bound], in place; NaN stays NaN.

    Returns, if ``count``, how many elements are then at the bound: a 0-d int64 tensor on the
    device of the first tensor. The bound is what the tensor's dtype makes of it.
    """
    for x in tensors:
        x.clamp_(-bound, bound)
    if not count:
        return None
    at_bound = [(x.abs() == bound).sum() for x in tensors]
    first = at_bound[0].device
    return torch.stack([n.to(first, non_blocking=True) for n in at_bound]).sum()


def rmsprop(optimizer: Optimizer) -> None:
    """One step of torch.optim.RMSprop, then the clip of each group that has a ``weight_clip``."""
    _step_then_clip(RMSprop, optimizer)


def rmsprop_refused(optimizer: Optimizer) -> list[list[Tensor]]:
    """Of each group, the parameters that ``rmsprop`` would refuse; nothing is done."""
    return [[] for _ in optimizer.param_groups]


def adam(optimizer: Optimizer) -> None:
    """One step of torch.optim.Adam, then the clip of each group that has a ``weight_clip``."""
    _step_then_clip(Adam, optimizer)


adam_refused = rmsprop_refused


def check_clip(group: dict[str, Any]) -> None:
    """InputError if the group's ``weight_clip`` is neither None nor a bound."""
    clip = group.get("weight_clip")
    if clip is None:
        return
    _checks.number("weight_clip", clip, above=0, hint="as WGAN's 0.01, or None")
    if group.get("differentiable"):
        raise InputError("weight_clip: the clip is not differentiable; leave one of them out")


def _step_then_clip(kind: type[Optimizer], optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        check_clip(group)
    # A GradScaler leaves these to an optimizer that can read them on the device. torch's plain step
    # cannot: it must not see them, and the host has to wait for them here.
    own = vars(optimizer)
    scaler: dict[str, Tensor | None] = {
        name: own.pop(name) for name in ("grad_scale", "found_inf") if name in own
    }
    try:
        found_inf, scale = scaler.get("found_inf"), scaler.get("grad_scale")
        if found_inf is not None and bool(found_inf):
            return
        if scale is not None:
            _unscale(optimizer, scale)
        # torch wraps a step with the hooks once an optimizer of its own class exists; ours has
        # run them already.
        step = getattr(kind.step, "__wrapped__", kind.step) if _hooked(kind) else kind.step
        step(optimizer)
    finally:
        own.update(scaler)
    for group in optimizer.param_groups:
        if group.get("weight_clip") is not None:
            clip_weights_(group["params"], float(group["weight_clip"]), False)


def _hooked(kind: type[Optimizer]) -> bool:
    return bool(getattr(kind.step, "hooked", False))


@torch.no_grad()
def _unscale(optimizer: Optimizer, scale: Tensor) -> None:
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                p.grad.mul_(scale.double().reciprocal().to(p.grad))
