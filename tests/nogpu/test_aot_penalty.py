"""The Triton kernels of the penalty compile for the GPUs that we mean: no spills, vector access."""

import re

import pytest
import triton
from aot import ELEMENT, VECTOR, each_on_a_gpu, resources
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ganfast.backends.triton.kernels.interpolate import (
    interpolate_gradient_kernel,
    interpolate_kernel,
)
from ganfast.backends.triton.kernels.penalty import (
    long_penalty_kernel,
    long_product_kernel,
    long_second_order_kernel,
    penalty_gradient_kernel,
    penalty_second_order_kernel,
    short_penalty_kernel,
)
from ganfast.backends.triton.launch import BLOCK_LOG2

DTYPES = ["float64", "float32", "float16", "bfloat16"]
SIDES = {"CENTRED": False, "ONE_SIDED": True}
KERNELS = {
    "interpolate": (interpolate_kernel, {}),
    "interpolate-gradient": (interpolate_gradient_kernel, {}),
    "short-penalty": (short_penalty_kernel, {"ONE_SIDED": True, "SINGLE": False}),
    "long-penalty": (long_penalty_kernel, {"ONE_SIDED": True}),
    "gradient": (penalty_gradient_kernel, SIDES),
    "second-order": (penalty_second_order_kernel, SIDES),
    "long-product": (long_product_kernel, SIDES),
    "long-second-order": (long_second_order_kernel, SIDES),
}
MATRICES = {"out", "real", "fake", "of_real", "of_fake", "x", "v", "of_x"}
"""Pointers to samples; "grad" is one in the interpolation alone, "out" is not in the penalty."""


def pointer(kernel, name, dtype):
    scalar = "fp64" if dtype == "float64" else "fp32"
    value = kernel in (short_penalty_kernel, long_penalty_kernel)
    if name == "key_pointer":
        return None
    if name == "counter":
        return "*i32"
    if name in MATRICES - ({"out"} if value else set()):
        return f"*{ELEMENT[dtype]}"
    if name == "grad" and kernel is interpolate_gradient_kernel:
        return f"*{ELEMENT[dtype]}"
    return (
        f"*{scalar}" if name in ("out", "norms", "partials", "grad", "of_grad", "inners") else "i64"
    )


def build(kernel, dtype, capability, **constants):
    """``kernel`` as a launch on aligned rows, of a length divisible by 16, would ask for it."""
    signature, constexprs, attributes = {}, {}, {}
    for index, name in enumerate(kernel.arg_names):
        kind = "constexpr" if name in constants else pointer(kernel, name, dtype) or "constexpr"
        signature[name] = kind
        if kind == "constexpr":
            constexprs[(index,)] = constants.get(name)
        elif kind.startswith("*") or name == "length":
            attributes[(index,)] = [["tt.divisibility", 16]]
    return triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constexprs, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 4, "enable_fp_fusion": True},
    )


def constants_of(name, dtype, short):
    """What a launch on short rows, or on long ones, gives the kernel of that name."""
    kernel, constants = KERNELS[name]
    wide = dtype == "float64"
    given = {"WIDE": wide, "BLOCK_LOG2": BLOCK_LOG2[wide], "SHORT": short}
    given |= {"WIDTH": 16 if short else 256, "TOGETHER": (256 if wide else 1024) // 256}
    return constants | {key: value for key, value in given.items() if key in kernel.arg_names}


ONE_FOR_EVERY_LENGTH = ("long-penalty", "second-order", "long-product", "long-second-order")


@pytest.mark.parametrize(
    ("capability", "dtype", "name", "short"),
    each_on_a_gpu(
        DTYPES,
        KERNELS,
        [False, True],
        unless=lambda dtype, name, short: short and name in ONE_FOR_EVERY_LENGTH,
    ),
)
def test_kernels(capability, dtype, name, short, tmp_path):
    wide = dtype == "float64"
    compiled = build(KERNELS[name][0], dtype, capability, **constants_of(name, dtype, short))
    ptx, used = compiled.asm["ptx"], resources(compiled.asm["cubin"], tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0 and ".local" not in ptx, f"spills: {used}"
    assert used["REG"] <= (128 if wide else 96), used
    if name in ("interpolate", "interpolate-gradient", "gradient", "long-second-order"):
        assert f"ld.global.{VECTOR[dtype]}" in ptx and f"st.global.{VECTOR[dtype]}" in ptx
        assert "atom." not in ptx
    else:
        assert re.findall(r"\batom\.\S+", ptx) == ["atom.global.gpu.acq_rel.add.u32"]
        assert "ld.global.cg" in ptx, "other programs' sums never come from this one's cache"


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_no_length_of_a_row_is_narrowed(name):
    """A row may have 2^31 elements and more. (Short rows, of less than a block, may be.)"""
    constants = constants_of(name, "float32", short=False)
    text = build(KERNELS[name][0], "float32", 90, **constants).asm["ttir"]
    assert "%length" in text and not re.search(r"arith\.trunci %length\w* :", text)
