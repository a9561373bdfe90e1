"""Compiles a Triton kernel for a GPU that is not there, and says what the assembler made of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import triton
from kernel_table import CAPABILITIES
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ganfast.backends.triton.launch import OPTIONS
from ganfast.backends.triton.losses import _options
from ganfast.games import PHIS, LossSpec

ELEMENT = {"float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
VECTOR = {"float64": "v2.b64", "float32": "v4.b32", "float16": "v4.b32", "bfloat16": "v4.b32"}
"""How PTX writes 16 bytes of each dtype."""

_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def each_on_a_gpu(*parameters: Iterable, unless: Callable = lambda *each: False) -> list[tuple]:
    """Every combination of the parameters, but for those, each for one GPU in turn.

    It is enough that each value of a parameter meets each GPU. To compile every combination for
    every GPU would take three times as long.
    """
    found = []
    for each in product(*(enumerate(values) for values in parameters)):
        places, values = zip(*each, strict=True)
        if not unless(*values):
            found.append((CAPABILITIES[sum(places) % len(CAPABILITIES)], *values))
    for column in list(zip(*found, strict=True))[1:]:
        gpus = [row[0] for row in found]
        met = set(zip(gpus, column, strict=True))
        assert len(met) == len(set(column)) * len(CAPABILITIES), "a GPU that a value does not meet"
    return found


def build(kernel, dtype: str, capability: int, tensors: int = 2, aligned: bool = True, **constants):
    """``kernel`` for ``tensors`` tensors of ``dtype``, or pairs of them, as a launch would ask for
    it; ``statistics=True`` for the sums that give them."""
    given = _options(LossSpec(PHIS["linear"], (), 1, "mean"), dtype == "float64")
    constants = {**given, **constants}
    element, accumulator = f"*{ELEMENT[dtype]}", "*fp64" if dtype == "float64" else "*fp32"
    single = constants.get("SINGLE")
    each = constants.get("EACH") and constants.get("SLOPE")
    statistics = constants.pop("statistics", False)
    once = {
        "statistics": accumulator if statistics else None,
        "out": element,
        "partials": None if single else accumulator,
        "counter": None if single else "*i32",
        "grad": element if constants.get("SLOPE") and not each else None,
        "key_pointer": None,
    }
    signature, constexprs, attributes = {}, {}, {}
    for index, name in enumerate(kernel.arg_names):
        tensor = re.fullmatch(r"([xgy])(\d)", name)
        if name in constants:
            kind = None
        elif tensor:
            place, there = int(tensor[2]), tensors
            if constants["PAIRED"]:  # what is subtracted, and its gradient, take the other half
                half = 1 if "pair" in kernel.__name__ else 4
                there = min(tensors, half)
                if tensor[1] == "x" or (tensor[1] == "y" and constants["SLOPE"]):
                    place %= half
            kind = element if place < there and (tensor[1] != "g" or each) else None
        else:
            kind = once.get(name, "i64")
        signature[name] = kind or "constexpr"
        if kind is None:
            constexprs[(index,)] = constants.get(name)
        elif kind.startswith("*") and aligned:
            attributes[(index,)] = [["tt.divisibility", 16]]
    return triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constexprs, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options=OPTIONS,
    )


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """REG, STACK, LOCAL, SHARED, ... as cuobjdump tells them."""
    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    told = subprocess.run(
        [_CUOBJDUMP, "-res-usage", path], capture_output=True, text=True, check=True
    )
    return {name: int(number) for name, number in re.findall(r"([A-Z]+):(\d+)", told.stdout)}
