"""The Triton backend: one launch forward and one backward for every op, on CUDA devices.

Imported by ``_dispatch`` on the first call that could use it, never by ``import ganfast``. With
TRITON_INTERPRET=1 set before that, Triton's interpreter runs the same kernels on CPU tensors: slow,
but it needs no GPU, and tests/nogpu proves the formulas with it.
"""

from __future__ import annotations

import torch

try:
    import triton
except ImportError as error:
    raise ImportError(
        f"Triton cannot be imported ({error}): pip install 'ganfast[triton]'"
    ) from error

from ganfast.backends.triton.launch import (
    INTERPRETED,
    adversarial_loss,
    adversarial_loss_gradient,
)
from ganfast.backends.triton.launch_penalty import (
    interpolate,
    interpolate_gradient,
    penalty,
    penalty_gradient,
    penalty_second_order,
)
from ganfast.backends.triton.launch_preprocess import preprocess

__all__ = [
    "INTERPRETED",
    "adversarial_loss",
    "adversarial_loss_gradient",
    "describe",
    "interpolate",
    "interpolate_gradient",
    "penalty",
    "penalty_gradient",
    "penalty_second_order",
    "preprocess",
    "why_not",
]

_OPS = (
    "discriminator_loss",
    "generator_loss",
    "interpolate",
    "penalty_from_gradient",
    "preprocess",
)
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def why_not(op: str, device_type: str, dtype: torch.dtype) -> str | None:
    """Why this backend cannot serve ``op`` there; None if it can."""
    if op not in _OPS:
        return f"there is no Triton kernel for {op}"
    if op == "preprocess":
        if dtype != torch.uint8:
            return f"preprocess takes uint8 images, not {dtype}"
    elif dtype not in _DTYPES:
        return f"the Triton kernels take float32, float16, bfloat16 and float64, not {dtype}"
    if device_type == "cuda" and not INTERPRETED:
        return None
    if INTERPRETED:
        if device_type == "cpu":
            return None
        return f"TRITON_INTERPRET=1 runs the kernels on CPU tensors, not on {device_type}"
    return f"Triton kernels need a CUDA device, not {device_type}"


def describe() -> str:
    """What serves, in a few words."""
    return f"Triton {triton.__version__}" + (" (interpreter)" if INTERPRETED else "")
