"""The Triton kernel of the preprocessing compiles for the GPUs that we mean."""

import pytest
import triton
from aot import ELEMENT, each_on_a_gpu, resources
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ganfast.backends.triton.kernels.preprocess import preprocess_each_kernel, preprocess_kernel
from ganfast.backends.triton.preprocess import _BLOCK_LOG2

TAPS = {
    "as it is": (1, 1, False),
    "bilinear": (2, 2, False),
    "bicubic": (4, 4, True),
    "many": (0, 0, True),
}
DTYPES = ["float32", "float16", "bfloat16"]
FOUR_VALUES = {"float32": "v4.b32", "float16": "v2.b32", "bfloat16": "v2.b32"}
"""How PTX writes what a thread makes."""

POINTERS = {
    "images": "*u8",
    "pixels": "*u8",
    "table": "*i64",
    "starts": "*i32",
    "weights": "*fp32",
    "down_starts": "*i32",
    "across_starts": "*i32",
    "down_weights": "*fp32",
    "across_weights": "*fp32",
}


def build(capability, dtype, down, across, clip, kernel=preprocess_kernel):
    constants = {"DOWN": down, "ACROSS": across, "CLIP": clip, "BLOCK_LOG2": _BLOCK_LOG2}
    signature, constexprs, attributes = {}, {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            constexprs[(index,)] = constants[name]
            continue
        real = "fp32" if name in ("scale", "shift") else "i64"
        signature[name] = {"out": f"*{ELEMENT[dtype]}", **POINTERS}.get(name, real)
        if signature[name].startswith("*"):
            attributes[(index,)] = [["tt.divisibility", 16]]
    return triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constexprs, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 4, "enable_fp_fusion": True},
    )


@pytest.mark.parametrize(("capability", "dtype", "taps"), each_on_a_gpu(DTYPES, TAPS))
def test_kernel(capability, dtype, taps, tmp_path):
    compiled = build(capability, dtype, *TAPS[taps])
    ptx, used = compiled.asm["ptx"], resources(compiled.asm["cubin"], tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0 and ".local" not in ptx, f"spills: {used}"
    assert used["REG"] <= 80, used
    assert f"st.global.{FOUR_VALUES[dtype]}" in ptx
    assert "atom." not in ptx and "ld.global.b8" in ptx


@pytest.mark.parametrize(
    ("capability", "dtype", "taps"),
    each_on_a_gpu(DTYPES, ["bilinear", "bicubic", "many"]),
)
def test_kernel_of_many_sizes(capability, dtype, taps, tmp_path):
    compiled = build(capability, dtype, *TAPS[taps], kernel=preprocess_each_kernel)
    ptx, used = compiled.asm["ptx"], resources(compiled.asm["cubin"], tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0 and ".local" not in ptx, f"spills: {used}"
    assert used["REG"] <= 80, used
    assert "atom." not in ptx and "ld.global.b8" in ptx
