"""The C++ kernels (csrc/cpu) on tensors: one file for each noun, by the names of the reference."""

from __future__ import annotations

import torch

from ganfast import _cpu
from ganfast.backends.cpu.dtypes import CODE
from ganfast.backends.cpu.linalg import (
    BATCH_LIMIT,
    batch_sqrtm,
    batch_trace_sqrtm,
    pivoted_panel,
    symmetry,
)
from ganfast.backends.cpu.losses import adversarial_loss, adversarial_loss_gradient
from ganfast.backends.cpu.optim import adam, clip_weights_, rmsprop
from ganfast.backends.cpu.penalty import (
    draw_and_interpolate,
    interpolate,
    interpolate_gradient,
    penalty,
    penalty_gradient,
    penalty_second_order,
)
from ganfast.backends.cpu.preprocess import preprocess
from ganfast.backends.cpu.row_buffer import RowBuffer

__all__ = [
    "BATCH_LIMIT",
    "RowBuffer",
    "adam",
    "adversarial_loss",
    "adversarial_loss_gradient",
    "batch_sqrtm",
    "batch_trace_sqrtm",
    "clip_weights_",
    "describe",
    "draw_and_interpolate",
    "interpolate",
    "interpolate_gradient",
    "penalty",
    "penalty_gradient",
    "penalty_second_order",
    "pivoted_panel",
    "preprocess",
    "rmsprop",
    "symmetry",
    "why_not",
]

_ON_TENSORS = (
    "clip_weights_",
    "rmsprop",
    "adam",
    "interpolate",
    "penalty_from_gradient",
)  # asked in C++ where and how they lie in memory
_OPS = (
    "discriminator_loss",
    "generator_loss",
    "sqrtm",
    "trace_sqrtm",
    "moments",
    "preprocess",
    *_ON_TENSORS,
)
_SERVED = {"moments": {*CODE, torch.uint8}, "preprocess": {torch.uint8}}
_FLOAT64 = ("sqrtm", "trace_sqrtm")  # linalg computes in it, whatever it is given


def why_not(op: str, device: str, dtype: torch.dtype) -> str | None:
    """Why these kernels cannot serve ``op``; None if they can."""
    if device != "cpu":
        return f"the C++ kernels work on CPU tensors, not on {device}"
    if op not in _OPS:
        return f"no C++ kernel for {op}"
    if dtype not in _SERVED.get(op, CODE) or (op in _FLOAT64 and dtype != torch.float64):
        return f"no C++ kernel for {dtype}"
    if not _cpu.isa():
        return "this processor lacks x86-64-v2"
    if op in _ON_TENSORS and not _cpu.reads_tensors():
        return f"torch {torch.__version__} has no DLPack exchange API"
    return None


def describe() -> str:
    return f"C++ kernels for {_cpu.isa()}"
