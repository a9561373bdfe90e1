"""Clipping and the optimizers' steps: a table of addresses, and one launch for it.

What the kernels read on the device (csrc/cuda/optim.cu) the host never waits for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, cuda
from torch.autograd.graph import increment_version
from torch.optim import Optimizer

from ganfast.backends.cuda.module import launch
from ganfast.errors import NoState, Refusal
from ganfast.reference import optim as reference

_CODE = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
_TYPES = (Tensor, torch.nn.Parameter)
_THREADS = 256
_CHUNK = 4096  # elements of one block, as in optim.cu
_UNSUPPORTED = (
    "it takes plain dense tensors of one device, each with its gradient and state of the same "
    "dtype and layout, and not differentiable"
)
_COLD = "a CUDA graph is being captured before the first step or without capturable=True"

_RMSPROP = ("square_avg", "grad_avg", "momentum_buffer")
_ADAM = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


def clip_weights_(tensors: list[Tensor], bound: float, count: bool) -> Tensor | None:
    """As in the reference. Refusal if a tensor is no plain memory."""
    device = tensors[0].device
    for index, x in enumerate(tensors):
        if not (_supported(x, device) and _dense(x)):
            raise Refusal(f"tensor {index} is no dense floating-point memory on {device}")
    columns = [_column(x) for x in tensors if x.numel()]
    at_bound = torch.zeros((), dtype=torch.int64, device=device) if count else None
    if columns:
        table, chunks = _table(columns, device, None)
        arguments = (table, np.int32(len(columns)), np.float64(bound), at_bound)
        launch("optim.cu", "clip_weights", chunks, _THREADS, arguments, device=device)
    increment_version(tensors)
    return at_bound


def rmsprop(optimizer: Optimizer) -> None:
    """As in the reference. Refusal if no kernel takes its tensors."""
    _step(optimizer, "rmsprop_step", _RMSPROP, _rmsprop_options)


def rmsprop_refused(optimizer: Optimizer) -> list[list[Tensor]]:
    """As in the reference."""
    return _refused(optimizer, _RMSPROP, _rmsprop_options)


def adam(optimizer: Optimizer) -> None:
    """As in the reference. Refusal if no kernel takes its tensors."""
    _step(optimizer, "adam_step", _ADAM, _adam_options)


def adam_refused(optimizer: Optimizer) -> list[list[Tensor]]:
    """As in the reference."""
    return _refused(optimizer, _ADAM, _adam_options)


Options = tuple[tuple[bool, ...], tuple[np.generic, ...]]
"""Which arrays a group has, and the kernel's last arguments."""


def _rmsprop_options(group: dict[str, Any]) -> Options:
    wanted = True, bool(group["centered"]), group["momentum"] > 0
    return wanted, (np.float64(group["alpha"]), np.float64(group["momentum"]))


def _adam_options(group: dict[str, Any]) -> Options:
    beta1, beta2 = group["betas"]
    if isinstance(beta1, Tensor) or isinstance(beta2, Tensor):
        raise Refusal("betas are tensors")
    decoupled = np.int32(group["decoupled_weight_decay"])
    wanted = True, True, bool(group["amsgrad"])
    return wanted, (np.float64(beta1), np.float64(beta2), decoupled)


def _step(
    optimizer: Optimizer,
    kernel: str,
    arrays: Sequence[str],
    options: Callable[[dict[str, Any]], Options],
) -> None:
    own = vars(optimizer)
    scale, found_inf = own.get("grad_scale"), own.get("found_inf")
    plans = [
        Plan(optimizer, index, arrays, *options(group))
        for index, group in enumerate(optimizer.param_groups)
    ]
    for plan in plans:
        for p in plan.group["params"]:
            plan.add(p)
    for plan in plans:
        if plan.columns or plan.idle:
            plan.run(kernel, scale, found_inf)


def _refused(
    optimizer: Optimizer, arrays: Sequence[str], options: Callable[[dict[str, Any]], Options]
) -> list[list[Tensor]]:
    def refuses(plan: Plan, p: Tensor) -> bool:
        try:
            plan.add(p)
        except NoState:
            return False
        except Refusal:
            return True
        return False

    refused = []
    for index, group in enumerate(optimizer.param_groups):
        try:
            plan = Plan(optimizer, index, arrays, *options(group))
        except Refusal:
            refused.append(list(group["params"]))
        else:
            refused.append([p for p in group["params"] if refuses(plan, p)])
    return refused


class Plan:
    """What the step of one group will do to each parameter that is added, all of it checked."""

    def __init__(
        self,
        optimizer: Optimizer,
        index: int,
        arrays: Sequence[str],
        wanted: tuple[bool, ...],
        numbers: tuple[np.generic, ...],
    ) -> None:
        self.optimizer, self.index, self.numbers = optimizer, index, numbers
        self.arrays, self.wanted = arrays, wanted
        self.group = group = optimizer.param_groups[index]
        self.columns: list[list[int]] = []
        self.grads: list[Tensor] = []
        self.touched: list[Tensor] = []
        self.idle: list[Tensor] = []  # without a gradient: clipped all the same
        self.states: list[dict[str, Any]] = []
        params = (p for each in optimizer.param_groups for p in each["params"])
        self.device = next(p for p in params if p.is_floating_point()).device
        self.capturing = self.device.type == "cuda" and cuda.is_current_stream_capturing()
        reference.check_clip(group)
        if group["differentiable"]:
            raise Refusal(_UNSUPPORTED)
        if self.capturing and not (group["capturable"] and self._has_spare()):
            raise Refusal(_COLD)
        lr = group["lr"]
        on_device = isinstance(lr, Tensor) and lr.device == self.device and not lr.is_cpu
        if on_device and lr.dtype != torch.float32:
            raise Refusal("lr is a tensor on the device, and not float32")
        self.lr_at = lr if on_device else None
        self.lr = np.float64(0.0 if on_device else float(lr))

    def add(self, p: Tensor) -> None:
        """Refusal if no kernel takes it, or NoState."""
        grad = p.grad
        if not (_supported(p, self.device) and _dense(p)):
            raise Refusal(_UNSUPPORTED)
        if grad is None:
            self.idle.append(p)
            return
        if not _alike(grad, p) or grad.is_neg():
            raise Refusal(_UNSUPPORTED)
        state = self.optimizer.state.get(p)
        if not state:
            raise NoState
        step = state.get("step")
        if not (isinstance(step, Tensor) and step.dtype == torch.float32 and step.numel() == 1):
            raise Refusal("a counter of steps is not a float32 tensor")
        pairs = list(zip(self.arrays, self.wanted, strict=True))
        there = [state.get(name) if want else None for name, want in pairs]
        if any(
            want and (x is None or not _alike(x, p))
            for x, want in zip(there, self.wanted, strict=True)
        ):
            raise Refusal(_UNSUPPORTED)
        self.states.append(state)
        self.grads.append(grad)
        self.touched += [p, *(x for x in there if x is not None)]
        self.columns.append(_column(p, grad, *there))

    def run(self, kernel: str, scale: Tensor | None, found_inf: Tensor | None) -> None:
        group, device = self.group, self.device
        scale = None if scale is None else scale.to(device, non_blocking=True)
        if found_inf is not None:
            found_inf = found_inf.to(device, non_blocking=True)
            self._count_on_the_device()
        counters = [state["step"] for state in self.states]
        if counters:
            # A step that the kernel leaves out is not counted.
            by = 1 if found_inf is None else (found_inf == 0).to(torch.float32).reshape(())
            torch._foreach_add_(counters, by)
        for column, counter in zip(self.columns, counters, strict=True):
            if counter.device == device and device.type != "cpu":
                column[_STEP_AT] = counter.data_ptr()
            else:
                column[_STEPS] = int(counter)
        bound = group.get("weight_clip")
        live = [column for column in self.columns if column[_COUNT]]
        if live:
            table, chunks = _table(live, device, self._spare())
            arguments = (
                table,
                np.int32(len(live)),
                self.lr,
                self.lr_at,
                np.float64(group["eps"]),
                np.float64(group["weight_decay"]),
                np.float64(math.inf if bound is None else bound),
                np.int32(group["maximize"]),
                scale,
                found_inf,
                *self.numbers,
            )
            launch("optim.cu", kernel, chunks, _THREADS, arguments, device=device)
        if bound is not None and self.idle:
            clip = reference.clip_weights_ if self.capturing else clip_weights_
            clip(self.idle, bound, False)
        increment_version(self.touched if scale is None else self.touched + self.grads)

    def _count_on_the_device(self) -> None:
        """A counter that must wait for found_inf lives where that is, from now on."""
        for state in self.states:
            if state["step"].device != self.device:
                state["step"] = state["step"].to(self.device)

    # A CUDA graph reads its table again at each replay, from pinned memory that must stay, and that
    # cannot be had during the capture: the steps before it put some aside.

    def _spares(self) -> dict[int, Tensor]:
        spares: dict[int, Tensor] = vars(self.optimizer).setdefault("_spare_tables", {})
        return spares

    def _has_spare(self) -> bool:
        spare = self._spares().get(self.index)
        return spare is not None and spare.numel() >= _ROWS * len(self.group["params"])

    def _spare(self) -> Tensor | None:
        """Where the table of a capture goes; None outside of one."""
        spares = self._spares()
        if self.capturing:
            spare = spares.pop(self.index)
            vars(self.optimizer).setdefault("_captured_tables", []).append(spare)
            return spare
        if self.group["capturable"] and not self._has_spare() and self.device.type == "cuda":
            size = _ROWS * len(self.group["params"])
            spares[self.index] = torch.empty(size, dtype=torch.int64, pin_memory=True)
        return None


# ---- the table: a column for each tensor, with the rows of optim.cu ------------------------------

_COUNT, _STEPS, _STEP_AT, _ROWS = 1, 3, 4, 10


def _column(*tensors: Tensor | None) -> list[int]:
    first = tensors[0]
    assert first is not None
    addresses = [0 if x is None else x.data_ptr() for x in tensors]
    addresses += [0] * (5 - len(addresses))
    return [0, first.numel(), _CODE[first.dtype], 0, 0, *addresses]


def _table(
    columns: list[list[int]], device: torch.device, spare: Tensor | None
) -> tuple[Tensor, int]:
    """The table on the device, copied without waiting, and the number of chunks."""
    chunks = 0
    for column in columns:
        column[0] = chunks
        chunks += -(-column[_COUNT] // _CHUNK)
    rows = torch.tensor(columns, dtype=torch.int64, device="cpu").t().contiguous()
    if device.type == "cpu":
        return rows, chunks
    if spare is None:
        # torch keeps pinned memory back until the copy out of it is done.
        return rows.pin_memory().to(device, non_blocking=True), chunks
    host = spare[: rows.numel()].view(rows.shape)
    host.copy_(rows)
    return torch.empty_like(rows, device=device).copy_(host, non_blocking=True), chunks


def _supported(x: Tensor, device: torch.device) -> bool:
    return (
        type(x) in _TYPES
        and x.dtype in _CODE
        and x.layout is torch.strided
        and x.device == device
        and not x.is_neg()
    )


def _dense(x: Tensor) -> bool:
    """Whether the elements fill one piece of memory, in whatever order."""
    if x.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def _alike(x: Tensor, p: Tensor) -> bool:
    return (
        type(x) in _TYPES
        and x.dtype == p.dtype
        and x.layout is torch.strided
        and not x._is_zerotensor()
        and x.device == p.device
        and x.shape == p.shape
        and (x.stride() == p.stride() or (x.is_contiguous() and p.is_contiguous()))
    )
