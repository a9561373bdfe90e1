"""What a CUDA graph would keep of an optimizer's step: numbers on the host are in every replay what
they were at the capture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ganfast.errors import InputError


def check(optimizer: Optimizer) -> None:
    """InputError if a captured step of this optimizer, ours or torch's, would replay wrongly: its
    count of steps or its learning rate is on the host, or its state is not there yet, and would be
    set to zero in each replay."""
    kind = type(optimizer).__name__
    for group in optimizer.param_groups:
        if not group.get("capturable", True):
            raise InputError(
                f"capturable: got False for {kind} while a CUDA graph is being captured, whose "
                "replays would all count the same step; give capturable=True"
            )
        _check_lr(optimizer, group)
        for p in group["params"]:
            if p.grad is None:
                continue
            state = optimizer.state.get(p)
            if not state and "capturable" in group:  # torch.optim.SGD, say, may have none
                raise InputError(
                    f"state: got none for {kind} while a CUDA graph is being captured, which would "
                    "begin anew in each replay; take a step before the capture"
                )
            step = (state or {}).get("step")
            if isinstance(step, Tensor) and step.is_cpu and not p.is_cpu:
                raise InputError(
                    f"step: got a counter on the host for {kind} while a CUDA graph is being "
                    "captured; take a step before the capture, which moves it to the device"
                )


def _check_lr(optimizer: Optimizer, group: dict[str, Any]) -> None:
    lr = group.get("lr")
    if isinstance(lr, Tensor):
        if lr.is_cpu and not all(p.is_cpu for p in group["params"]):
            raise InputError(
                "lr: got a tensor on the CPU, whose number a CUDA graph would keep; give one on "
                "the device"
            )
    elif hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        raise InputError(
            f"lr: got {lr!r}, a number that a scheduler changes; a CUDA graph would keep this one: "
            f"give lr=torch.tensor({lr!r}, device='cuda')"
        )


class Kept:
    """What a captured step has of its optimizers' options, which may change later."""

    def __init__(self, optimizers: list[Optimizer]) -> None:
        unique = {id(optimizer): optimizer for optimizer in optimizers}.values()
        self.optimizers = [
            (optimizer, optimizer.state, [_options(group) for group in optimizer.param_groups])
            for optimizer in unique
        ]

    def check(self) -> None:
        """InputError if a replay would not do what a step would do now."""
        for optimizer, state, before in self.optimizers:
            kind = type(optimizer).__name__
            if optimizer.state is not state:
                raise InputError(
                    f"{kind}: its state was loaded after the capture, and lies elsewhere; capture "
                    "the step again"
                )
            if len(optimizer.param_groups) != len(before):
                raise InputError(
                    f"{kind}: got another parameter group after the capture; capture the step again"
                )
            for group, options in zip(optimizer.param_groups, before, strict=True):
                for name, was in options.items():
                    now = group.get(name)
                    if now is not was and (_is_tensor(now, was) or now != was):
                        cure = "capture the step again"
                        if name == "lr":
                            cure = f"give lr as a tensor on the device, or {cure}"
                        raise InputError(
                            f"{name}: got {now!r}, but the captured step has {was!r}; {cure}"
                        )


def _options(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _is_tensor(*values: object) -> bool:
    return any(isinstance(value, torch.Tensor) for value in values)
