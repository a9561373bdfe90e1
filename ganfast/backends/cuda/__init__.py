"""The CUDA C++ kernels (csrc/cuda) on CUDA tensors: one file for each noun, by the names of the
reference.

They are for what Triton cannot say: lists of pointers to many tensors, small matrices in shared
memory. CuPy compiles them at the first call that needs them.
"""

from __future__ import annotations

import torch

from ganfast.backends.cuda.linalg import (
    BATCH_LIMIT,
    batch_sqrtm,
    batch_trace_sqrtm,
    pivoted_panel,
)
from ganfast.backends.cuda.module import unavailable
from ganfast.backends.cuda.optim import adam, clip_weights_, rmsprop

__all__ = [
    "BATCH_LIMIT",
    "adam",
    "batch_sqrtm",
    "batch_trace_sqrtm",
    "clip_weights_",
    "describe",
    "pivoted_panel",
    "rmsprop",
    "why_not",
]

_FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_SERVED: dict[str, tuple[torch.dtype, ...]] = {
    "clip_weights_": _FLOATING,
    "rmsprop": _FLOATING,
    "adam": _FLOATING,
    "sqrtm": (torch.float32, torch.float64),
    "trace_sqrtm": (torch.float32, torch.float64),
}
"""The dtypes that each op has a kernel for."""


def why_not(op: str, device_type: str, dtype: torch.dtype) -> str | None:
    """Why this backend cannot serve ``op`` there; None if it can."""
    if op not in _SERVED:
        return f"there is no CUDA C++ kernel for {op}"
    if dtype not in _SERVED[op]:
        names = ", ".join(str(each).removeprefix("torch.") for each in _SERVED[op])
        return f"the CUDA C++ kernels for {op} take {names}, not {dtype}"
    if device_type != "cuda":
        return f"CUDA C++ kernels need a CUDA device, not {device_type}"
    return unavailable()


def describe() -> str:
    """What serves, in a few words."""
    return "CUDA C++ through CuPy"
