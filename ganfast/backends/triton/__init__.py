"""The Triton backend: one launch forward and one backward for every op, on CUDA devices.

Imported by ``_dispatch`` on the first call that could use it, never by ``import ganfast``. With
TRITON_INTERPRET=1 set before that, Triton's interpreter runs the same kernels on CPU tensors: slow,
but it needs no GPU, and tests/nogpu proves the formulas with it.
"""

from __future__ import annotations

try:
    import triton
except ImportError as error:
    raise ImportError(
        f"Triton cannot be imported ({error}): pip install 'ganfast[triton]'"
    ) from error

from ganfast.backends.triton.launch import INTERPRETED

OLDEST = (3, 6)
"""The oldest that the kernels are compiled and tested with; torch 2.7 to 2.10 bring older ones."""


def why_not(device: str) -> str | None:
    """Why these kernels cannot run on tensors of a device of this type; None if they can."""
    if tuple(int(part) for part in triton.__version__.split(".")[:2]) < OLDEST:
        return f"Triton {triton.__version__} is older than {OLDEST[0]}.{OLDEST[1]}"
    if INTERPRETED:
        if device == "cpu":
            return None
        return f"TRITON_INTERPRET=1 runs the kernels on CPU tensors, not on {device}"
    return None if device == "cuda" else f"Triton kernels need a CUDA device, not {device}"


def describe() -> str:
    """What serves, in a few words."""
    return f"Triton {triton.__version__}" + (" (interpreter)" if INTERPRETED else "")
