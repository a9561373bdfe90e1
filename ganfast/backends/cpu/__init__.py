"""The C++ kernels (csrc/cpu) on tensors: one file for each noun, by the names of the reference."""

from __future__ import annotations

import torch

from ganfast import _cpu
from ganfast.backends.cpu.dtypes import CODE
from ganfast.backends.cpu.linalg import pivoted_panel, symmetry
from ganfast.backends.cpu.losses import adversarial_loss, adversarial_loss_gradient
from ganfast.backends.cpu.waiting_rows import WaitingRows

__all__ = [
    "WaitingRows",
    "adversarial_loss",
    "adversarial_loss_gradient",
    "describe",
    "pivoted_panel",
    "symmetry",
    "why_not",
]

_OPS = ("discriminator_loss", "generator_loss", "moments", "trace_sqrtm")


def why_not(op: str, device: str, dtype: torch.dtype) -> str | None:
    """Why these kernels cannot serve ``op``; None if they can."""
    if device != "cpu":
        return f"the C++ kernels work on CPU tensors, not on {device}"
    if op not in _OPS:
        return f"no C++ kernel for {op}"
    served = {*CODE, torch.uint8} if op == "moments" else CODE
    if dtype not in served or (op == "trace_sqrtm" and dtype != torch.float64):
        return f"no C++ kernel for {dtype}"
    if not _cpu.isa():
        return "this processor lacks x86-64-v2"
    return None


def describe() -> str:
    return f"C++ kernels for {_cpu.isa()}"
