"""The CUDA C++ backend. It has no kernel yet: what the losses need, Triton says well.

It is for what Triton cannot say: lists of pointers to many tensors, small matrices in shared
memory.
"""

from __future__ import annotations

import torch


def why_not(op: str, device_type: str, dtype: torch.dtype) -> str | None:
    """Why this backend cannot serve ``op`` there; None if it can."""
    return f"there is no CUDA C++ kernel for {op}; the Triton kernels serve it on CUDA devices"


def describe() -> str:
    """What serves, in a few words."""
    return "CUDA C++: no kernels yet"
