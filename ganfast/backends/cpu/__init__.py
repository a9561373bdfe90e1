"""The C++ kernels (csrc/cpu) on tensors: one file for each noun, by the names of the reference."""

from __future__ import annotations

from ganfast import _cpu


def why_not(device: str) -> str | None:
    """Why these kernels cannot run on tensors of a device of this type; None if they can."""
    if device != "cpu":
        return f"the C++ kernels work on CPU tensors, not on {device}"
    return None if _cpu.isa() else "this processor lacks x86-64-v2"


def describe() -> str:
    """What serves, in a few words."""
    return f"C++ kernels for {_cpu.isa()}"
