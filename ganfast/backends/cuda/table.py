"""The table of addresses that a kernel of csrc/cuda/optim.cu reads: a column for each tensor.

It is made anew for each step, from what the tensors are at that moment, and compared with the one
that the device has: only one that differs is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, cuda

from ganfast.errors import NoState, Refusal

_cpu: Any
try:
    from ganfast import _cpu
except ImportError:  # not built: the same in Python
    _cpu = None

CHUNK = 4096  # elements of one block, as in optim.cu
ROWS = 10
_COUNT, _STEPS, _STEP_AT = 1, 3, 4
NAMES = "float32", "float64", "float16", "bfloat16", "mixed"
"""What a kernel's name ends with, by the code of what its tensors are."""

_CODE = {getattr(torch, name): code for code, name in enumerate(NAMES[:-1])}
_MIXED = NAMES.index("mixed")
_TYPES = (Tensor, torch.nn.Parameter)
UNSUPPORTED = (
    "it takes plain dense tensors of one device, each with its gradient and state of the same "
    "dtype and layout, and not differentiable"
)


class Table(NamedTuple):
    """What one launch works on."""

    rows: bytearray
    """int64, row by row; empty if no tensor has an element."""
    chunks: int
    dtype: int
    """Whose name is ``NAMES[dtype]``."""
    steps: float = 0.0
    """The number of the step that is to be done, by the first counter on the host."""
    on_host: list[Tensor] | tuple[Tensor, ...] = ()
    """Counters."""
    on_device: list[Tensor] | tuple[Tensor, ...] = ()
    touched: list[Tensor] | tuple[Tensor, ...] = ()
    grads: list[Tensor] | tuple[Tensor, ...] = ()
    idle: list[Tensor] | tuple[Tensor, ...] = ()
    """Without a gradient."""


def read(
    first: Tensor, params: list[Tensor], state: Mapping[Tensor, Any], arrays: tuple[str | None, ...]
) -> Table:
    """The table of a group of parameters, with those arrays of their state.

    Raises:
        Refusal: if no kernel takes one of them; all must be where ``first`` is.
        NoState: if one that has a gradient has no state.
    """
    if _cpu is not None:
        return Table(*_cpu.step_table(first, params, state, arrays))
    reader = Reader(first.device, state, arrays)
    for p in params:
        reader.add(p)
    return reader.table()


def count(counters: list[Tensor] | tuple[Tensor, ...]) -> None:
    """Adds 1 to each of these counters, which are in the host's memory."""
    if _cpu is not None:
        _cpu.count_steps(counters)
        torch.autograd.graph.increment_version(counters)
    elif counters:
        torch._foreach_add_(counters, 1)


class Reader:
    """``_cpu.step_table`` in Python, one parameter after another."""

    def __init__(
        self,
        device: torch.device,
        state: Mapping[Tensor, Any],
        arrays: tuple[str | None, ...],
    ) -> None:
        self.device, self.state, self.arrays = device, state, arrays
        self.columns: list[list[int]] = []
        self.on_host: list[Tensor] = []
        self.on_device: list[Tensor] = []
        self.touched: list[Tensor] = []
        self.grads: list[Tensor] = []
        self.idle: list[Tensor] = []
        self.steps = 0

    def add(self, p: Tensor) -> None:
        """Refusal if no kernel takes it, or NoState."""
        grad = p.grad
        if not (supported(p, self.device) and dense(p)):
            raise Refusal(UNSUPPORTED)
        if grad is None:
            self.idle.append(p)
            return
        if not _alike(grad, p) or grad.is_neg():
            raise Refusal(UNSUPPORTED)
        state = self.state.get(p)
        if not state:
            raise NoState
        step = state.get("step")
        if not (isinstance(step, Tensor) and step.dtype == torch.float32 and step.numel() == 1):
            raise Refusal("a counter of steps is not a float32 tensor")
        there = [None if name is None else state.get(name) for name in self.arrays]
        for x, name in zip(there, self.arrays, strict=True):
            if name is not None and (x is None or not _alike(x, p)):
                raise Refusal(UNSUPPORTED)
        column = _column(p, grad, *there)
        if step.is_cpu:
            now = int(step) + 1
            self.steps = self.steps or now
            column[_STEPS] = now - self.steps
            self.on_host.append(step)
        elif step.device == self.device:
            column[_STEP_AT] = step.data_ptr()
            self.on_device.append(step)
        else:
            raise Refusal("a counter of steps is on another device than its parameter")
        self.columns.append(column)
        self.grads.append(grad)
        self.touched += [p, *(x for x in there if x is not None)]

    def table(self) -> Table:
        made = _table(self.columns)
        rest = self.steps, self.on_host, self.on_device, self.touched, self.grads, self.idle
        return Table(made.rows, made.chunks, made.dtype, *rest)


def table_of(tensors: list[Tensor]) -> Table:
    """That of tensors alone. Refusal if no kernel takes one; all must be where the first is."""
    if _cpu is not None:
        return Table(*_cpu.tensor_table(tensors))
    device = tensors[0].device
    for index, x in enumerate(tensors):
        if not (supported(x, device) and dense(x)):
            raise Refusal(f"tensors[{index}] is not dense floating-point memory on {device}")
    return _table([_column(x) for x in tensors])


def _column(*tensors: Tensor | None) -> list[int]:
    first = tensors[0]
    assert first is not None
    addresses = [0 if x is None else x.data_ptr() for x in tensors]
    addresses += [0] * (5 - len(addresses))
    return [0, first.numel(), _CODE[first.dtype], 0, 0, *addresses]


def _table(columns: list[list[int]]) -> Table:
    columns = [column for column in columns if column[_COUNT]]
    chunks = 0
    for column in columns:
        column[0] = chunks
        chunks += -(-column[_COUNT] // CHUNK)
    dtypes = {column[2] for column in columns} or {0}
    rows = np.array(columns, dtype=np.int64).T.tobytes()
    return Table(bytearray(rows), chunks, dtypes.pop() if len(dtypes) == 1 else _MIXED)


class Kept:
    """The table that the device has, and the bytes that it was made from."""

    def __init__(self) -> None:
        self.rows, self.stream = bytearray(), 0
        self.table: Tensor | None = None

    def sent(self, rows: bytearray, device: torch.device) -> Tensor:
        """The table on the device, copied without waiting if it differs from the last one."""
        # Freed memory is used again in the order of the stream that it was made on.
        stream = cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
        table = self.table
        if table is None or table.device != device or (rows, stream) != (self.rows, self.stream):
            self.rows, self.stream = rows, stream
            self.table = table = send(rows, device)
        return table


_MOST = 64
_alone: dict[tuple[bytes, torch.device, int], Tensor] = {}


def sent_alone(rows: bytearray, device: torch.device) -> Tensor:
    """A table on the device: one sent before if it says the same, since those who clip do so
    after each step. For each stream its own, as above."""
    stream = cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = bytes(rows), device, stream
    table = _alone.get(key)
    if table is None:
        if len(_alone) >= _MOST:
            del _alone[next(iter(_alone))]
        table = _alone[key] = send(rows, device)
    return table


def send(rows: bytearray, device: torch.device, spare: Tensor | None = None) -> Tensor:
    """A table, copied to the device without waiting: by way of ``spare``, pinned memory that a CUDA
    graph will read again, or of some that torch keeps back until the copy is done."""
    made = torch.frombuffer(rows, dtype=torch.int64)
    if device.type == "cpu":
        return made
    if spare is None:
        return made.pin_memory().to(device, non_blocking=True)
    host = spare[: made.numel()]
    host.copy_(made)
    return torch.empty_like(made, device=device).copy_(host, non_blocking=True)


def supported(x: Tensor, device: torch.device) -> bool:
    return (
        type(x) in _TYPES
        and x.dtype in _CODE
        and x.layout is torch.strided
        and x.device == device
        and not x.is_neg()
    )


def dense(x: Tensor) -> bool:
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
