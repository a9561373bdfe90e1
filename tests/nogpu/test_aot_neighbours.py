"""The Triton kernels of nearest neighbours and balls compile for the GPUs that we mean."""

import pytest
import triton
from aot import CAPABILITIES, ELEMENT, resources
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ganfast.backends.triton.kernels.neighbours import ball_kernel, nearest_kernel
from ganfast.backends.triton.launch import OPTIONS
from ganfast.backends.triton.neighbours import MOST, TILE


def build(kernel, capability, dtype, **constants):
    constants["TILE"] = TILE
    wide = {"out", "x_limits", "y_limits"}
    counts = {"x_holds", "y_inside", "y_holds", "x_inside"}
    signature, constexprs, attributes = {}, {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            constexprs[(index,)] = constants[name]
        elif name in {"x", "y"} | wide | counts:
            element = "fp64" if name in wide else "i32" if name in counts else ELEMENT[dtype]
            signature[name] = f"*{element}"
            attributes[(index,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "i64"
    return triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constexprs, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options=OPTIONS,
    )


def check(compiled, folder):
    used = resources(compiled.asm["cubin"], folder)
    assert used["STACK"] == used["LOCAL"] == 0, f"spills: {used}"
    assert "fma.rn.f64" in compiled.asm["ptx"]
    return compiled.asm["ptx"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [5, MOST])
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_nearest_kernel(capability, k, dtype, tmp_path):
    kept = triton.next_power_of_2(k)
    ptx = check(build(nearest_kernel, capability, dtype, K=k, KEPT=kept), tmp_path)
    assert "atom.global" not in ptx and "red.global" not in ptx


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kinds", [(2, 1), (0, 3)])
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ball_kernel(capability, kinds, dtype, tmp_path):
    p, q = kinds
    ptx = check(build(ball_kernel, capability, dtype, P=p, Q=q), tmp_path)
    assert ptx.count("atom.global.gpu.relaxed.add.u32") == 2 * (p + q)
