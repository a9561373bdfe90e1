"""The CUDA C++ kernels (csrc/cuda) on CUDA tensors: one file for each noun, by the names of the
reference.

They are for what Triton cannot say: lists of pointers to many tensors, small matrices in shared
memory. CuPy compiles them at the first call that needs them.
"""

from __future__ import annotations

from ganfast.backends.cuda.module import unavailable


def why_not(device: str) -> str | None:
    """Why these kernels cannot run on tensors of a device of this type; None if they can."""
    if device != "cuda":
        return f"CUDA C++ kernels need a CUDA device, not {device}"
    return unavailable()


def describe() -> str:
    """What serves, in a few words."""
    return "CUDA C++ through CuPy"
