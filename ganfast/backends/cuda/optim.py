"""Clipping and the optimizers' steps: a table of addresses (table.py), and one launch for it.

What the kernels read on the device (csrc/cuda/optim.cu) the host never waits for.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, cuda
from torch.autograd.graph import increment_version
from torch.optim import Optimizer

from ganfast.backends.cuda import table as tables
from ganfast.backends.cuda.module import Argument, launch
from ganfast.backends.cuda.table import NAMES, ROWS, UNSUPPORTED
from ganfast.errors import NoState, Refusal
from ganfast.reference import optim as reference

_FILE = "optim.cu"
_THREADS = 256
_COLD = "a CUDA graph is being captured before the first step or without capturable=True"


def clip_weights_(tensors: list[Tensor], bound: float, count: bool) -> Tensor | None:
    """As in the reference. Refusal if a tensor is no plain memory."""
    device = tensors[0].device
    table = tables.table_of(tensors)
    if device.type == "cuda" and cuda.is_current_stream_capturing():
        # A replay would read the table again, from pinned memory that is by then another's.
        return reference.clip_weights_(tensors, bound, count)
    at_bound = torch.zeros((), dtype=torch.int64, device=device) if count else None
    if table.rows:
        kernel = f"clip_weights_{NAMES[table.dtype]}"
        rows = tables.sent_alone(table.rows, device)
        _launch(kernel, table, rows, (np.float64(bound), at_bound))
    increment_version(tensors)
    return at_bound


def rmsprop(optimizer: Optimizer) -> None:
    """As in the reference. Refusal if no kernel takes its tensors."""
    _step(optimizer, "rmsprop")


def rmsprop_refused(optimizer: Optimizer) -> list[list[Tensor]]:
    """As in the reference."""
    return _refused(optimizer, "rmsprop")


def adam(optimizer: Optimizer) -> None:
    """As in the reference. Refusal if no kernel takes its tensors."""
    _step(optimizer, "adam")


def adam_refused(optimizer: Optimizer) -> list[list[Tensor]]:
    """As in the reference."""
    return _refused(optimizer, "adam")


class Options(NamedTuple):
    """What a group asks for."""

    kernel: str
    """Its name, but for the dtype."""
    arrays: tuple[str | None, str | None, str | None]
    """Of the state; None stands for one that this kernel does not have."""
    betas: tuple[float, float] | None
    numbers: tuple[np.generic, ...]
    """The kernel's last arguments, but for Adam's corrections."""


def _options(op: str, group: dict[str, Any]) -> Options:
    if op == "rmsprop":
        centered, moving = bool(group["centered"]), group["momentum"] > 0
        return Options(
            "rmsprop_step" + centered * "_centered" + moving * "_momentum",
            (
                "square_avg",
                "grad_avg" if centered else None,
                "momentum_buffer" if moving else None,
            ),
            None,
            (np.float64(group["alpha"]), np.float64(group["momentum"])),
        )
    beta1, beta2 = group["betas"]
    if isinstance(beta1, Tensor) or isinstance(beta2, Tensor):
        raise Refusal("betas are tensors")
    amsgrad, decoupled = bool(group["amsgrad"]), np.int32(group["decoupled_weight_decay"])
    return Options(
        "adam_step" + amsgrad * "_amsgrad",
        ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if amsgrad else None),
        (float(beta1), float(beta2)),
        (np.float64(beta1), np.float64(beta2), decoupled),
    )


def _step(optimizer: Optimizer, op: str) -> None:
    own = vars(optimizer)
    scale, found_inf = own.get("grad_scale"), own.get("found_inf")
    plans = [Plan(optimizer, index, op) for index in range(len(optimizer.param_groups))]
    for plan in plans:
        plan.read()
    for plan in plans:
        if plan.table.grads or plan.table.idle:
            plan.run(scale, found_inf)


def _refused(optimizer: Optimizer, op: str) -> list[list[Tensor]]:
    def refuses(plan: Plan, p: Tensor) -> bool:
        try:
            tables.Reader(plan.device, optimizer.state, plan.options.arrays).add(p)
        except NoState:
            return False
        except Refusal:
            return True
        return False

    refused = []
    for index, group in enumerate(optimizer.param_groups):
        try:
            plan = Plan(optimizer, index, op)
        except Refusal:
            refused.append(list(group["params"]))
        else:
            refused.append([p for p in group["params"] if refuses(plan, p)])
    return refused


class Plan:
    """What the step of one group will do, its options checked."""

    table: tables.Table

    def __init__(self, optimizer: Optimizer, index: int, op: str) -> None:
        self.optimizer, self.index = optimizer, index
        self.group = group = optimizer.param_groups[index]
        self.options = _options(op, group)
        params = (p for each in optimizer.param_groups for p in each["params"])
        self.first = next(p for p in params if p.is_floating_point())
        self.device = self.first.device
        self.capturing = self.device.type == "cuda" and cuda.is_current_stream_capturing()
        reference.check_clip(group)
        if group["differentiable"]:
            raise Refusal(UNSUPPORTED)
        if self.capturing and not (group["capturable"] and self._has_spare()):
            raise Refusal(_COLD)
        lr = group["lr"]
        on_device = isinstance(lr, Tensor) and lr.device == self.device and not lr.is_cpu
        if on_device and lr.dtype != torch.float32:
            raise Refusal("lr is a tensor on the device, and not float32")
        self.lr_at = lr if on_device else None
        self.lr = np.float64(0.0 if on_device else float(lr))

    def read(self) -> None:
        """Refusal if no kernel takes one of the tensors, or NoState."""
        state, params = self.optimizer.state, self.group["params"]
        self.table = tables.read(self.first, params, state, self.options.arrays)

    def run(self, scale: Tensor | None, found_inf: Tensor | None) -> None:
        group, device = self.group, self.device
        scale = None if scale is None else scale.to(device, non_blocking=True)
        if found_inf is not None:
            found_inf = found_inf.to(device, non_blocking=True)
        if found_inf is not None or group["capturable"]:
            self._count_on_the_device()
        self._count(found_inf)
        table, bound = self.table, group.get("weight_clip")
        if table.rows:
            arguments = (
                self.lr,
                self.lr_at,
                np.float64(group["eps"]),
                np.float64(group["weight_decay"]),
                np.float64(math.inf if bound is None else bound),
                np.int32(group["maximize"]),
                scale,
                found_inf,
                *self.options.numbers,
            )
            if self.options.betas:
                t = table.steps
                corrections = (1 - beta**t for beta in self.options.betas)
                arguments += (np.float64(t), *map(np.float64, corrections))
            kernel = f"{self.options.kernel}_{NAMES[table.dtype]}"
            _launch(kernel, table, self._rows(), arguments)
        if bound is not None and table.idle:
            clip = reference.clip_weights_ if self.capturing else clip_weights_
            clip(list(table.idle), bound, False)
        increment_version([*table.touched, *(() if scale is None else table.grads)])

    def _count(self, found_inf: Tensor | None) -> None:
        on_host, on_device = self.table.on_host, self.table.on_device
        if found_inf is None:
            tables.count(on_host)
            if on_device:
                torch._foreach_add_(on_device, 1)
        elif counters := [*on_host, *on_device]:  # a step that is left out is not counted
            by = (found_inf == 0).to(torch.float32).reshape(())
            torch._foreach_add_(counters, by)

    def _count_on_the_device(self) -> None:
        """A counter that waits for found_inf, or that a CUDA graph may count with, is on the device
        from now on, wherever it was when the option was another."""
        if self.device.type == "cpu" or not self.table.on_host:
            return
        for p in self.group["params"]:
            state = self.optimizer.state.get(p)
            if state and p.grad is not None:
                state["step"] = state["step"].to(self.device)
        self.read()

    def _rows(self) -> Tensor:
        rows = self.table.rows
        if self.capturing:
            # A CUDA graph reads its table again at each replay, from pinned memory that must stay,
            # and that cannot be had during the capture: the steps before it put some aside.
            spare = self._spares().pop(self.index)
            vars(self.optimizer).setdefault("_captured_tables", []).append(spare)
            return tables.send(rows, self.device, spare)
        if self.group["capturable"] and not self._has_spare() and self.device.type == "cuda":
            size = ROWS * len(self.group["params"])
            self._spares()[self.index] = torch.empty(size, dtype=torch.int64, pin_memory=True)
        kept: dict[int, tables.Kept] = vars(self.optimizer).setdefault("_kept_tables", {})
        return kept.setdefault(self.index, tables.Kept()).sent(rows, self.device)

    def _spares(self) -> dict[int, Tensor]:
        spares: dict[int, Tensor] = vars(self.optimizer).setdefault("_spare_tables", {})
        return spares

    def _has_spare(self) -> bool:
        spare = self._spares().get(self.index)
        return spare is not None and spare.numel() >= ROWS * len(self.group["params"])


def _launch(
    kernel: str, table: tables.Table, rows: Tensor, arguments: tuple[Argument, ...]
) -> None:
    tensors = np.int32(len(table.rows) // (8 * ROWS))
    launch(_FILE, kernel, table.chunks, _THREADS, (rows, tensors, *arguments), device=rows.device)
