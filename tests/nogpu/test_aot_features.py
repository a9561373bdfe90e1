"""The Triton kernels of feature matching compile for the GPUs that we mean: no spills, vector
access."""

import re

import pytest
import triton
from aot import ELEMENT, VECTOR, each_on_a_gpu, resources
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ganfast.backends.triton.kernels.features import distance_gradient_kernel, distance_kernel
from ganfast.backends.triton.launch import BLOCK_LOG2, OPTIONS

KERNELS = {"value": distance_kernel, "gradient": distance_gradient_kernel}


def build(kernel, dtype, capability, pairs, square):
    """``kernel`` as a launch on aligned pairs would ask for it."""
    wide = dtype == "float64"
    scalar = "*fp64" if wide else "*fp32"
    constants = {"SQUARE": square, "WIDE": wide, "BLOCK_LOG2": BLOCK_LOG2[wide]}
    once = {"out": scalar, "partials": scalar, "grad": scalar, "counter": "*i32"}
    signature, constexprs, attributes = {}, {}, {}
    for index, name in enumerate(kernel.arg_names):
        kind = "constexpr" if name in constants else once.get(name, "i64")
        if re.fullmatch(r"[fry]\d", name):
            kind = f"*{ELEMENT[dtype]}" if int(name[1]) < pairs else "constexpr"
        signature[name] = kind
        if kind == "constexpr":
            constexprs[(index,)] = constants.get(name)
        elif kind.startswith("*"):
            attributes[(index,)] = [["tt.divisibility", 16]]
    return triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constexprs, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options=OPTIONS,
    )


@pytest.mark.parametrize(
    ("capability", "dtype", "pairs", "name", "square"),
    each_on_a_gpu(ELEMENT, [8, 1], KERNELS, [False, True]),
)
def test_kernels(capability, dtype, pairs, name, square, tmp_path):
    compiled = build(KERNELS[name], dtype, capability, pairs, square)
    ptx, used = compiled.asm["ptx"], resources(compiled.asm["cubin"], tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0 and ".local" not in ptx, f"spills: {used}"
    assert used["REG"] <= (128 if dtype == "float64" else 96), used
    assert f"ld.global.{VECTOR[dtype]}" in ptx
    if name == "gradient":
        assert f"st.global.{VECTOR[dtype]}" in ptx and "atom." not in ptx
    else:
        assert re.findall(r"\batom\.\S+", ptx) == ["atom.global.gpu.acq_rel.add.u32"]
        assert "ld.global.cg" in ptx, "other programs' sums never come from this one's cache"
