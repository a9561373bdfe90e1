"""The Triton kernels compile for the GPUs that we mean, and what comes out is what we meant.

For each: a cubin, nothing spilled, vector loads and stores of 16 bytes where the addresses are
aligned, and one atomic operation with the memory order that the last program's sum relies on.
"""

import re
from importlib import import_module
from itertools import cycle
from pathlib import Path

import kernel_table
import pytest
import triton
from aot import VECTOR, build, each_on_a_gpu, resources

from ganfast.backends.triton import kernels
from ganfast.backends.triton.kernels.losses import (
    map_kernel,
    map_pair_kernel,
    sum_kernel,
    sum_pair_kernel,
)
from ganfast.games import PHIS

DTYPES = ["float64", "float32", "float16", "bfloat16"]
VARIANTS = {
    "sum": (sum_kernel, {"SINGLE": False, "MEAN": True}),
    "small-sum": (sum_kernel, {"SINGLE": True, "MEAN": True}),
    "values": (map_kernel, {"SLOPE": False, "EACH": True, "MEAN": False}),
    "gradient": (map_kernel, {"SLOPE": True, "EACH": False, "MEAN": True}),
    "gradient-of-each": (map_kernel, {"SLOPE": True, "EACH": True, "MEAN": False}),
    "sum-of-a-pair": (sum_pair_kernel, {"SINGLE": False, "MEAN": True}),
    "small-sum-of-a-pair": (sum_pair_kernel, {"SINGLE": True, "MEAN": True}),
    "values-of-a-pair": (map_pair_kernel, {"SLOPE": False, "EACH": True, "MEAN": False}),
    "gradient-of-a-pair": (map_pair_kernel, {"SLOPE": True, "EACH": False, "MEAN": True}),
    "gradient-of-each-of-a-pair": (map_pair_kernel, {"SLOPE": True, "EACH": True, "MEAN": False}),
}

# A float32 mean took 55 and its gradient 31, so 9 and 16 programs of 128 threads fit on a processor
# at a time; the most was 95 (float64, with noise). More than these would be a change worth a look.
REGISTERS = {"float64": 112, "float32": 80, "float16": 80, "bfloat16": 80}


def check(variant, dtype, capability, folder, tensors=2, aligned=True, **constants):
    kernel, fixed = VARIANTS[variant]
    compiled = build(kernel, dtype, capability, tensors, aligned, **fixed, **constants)
    ptx, used = compiled.asm["ptx"], resources(compiled.asm["cubin"], folder)
    assert used["STACK"] == used["LOCAL"] == 0 and ".local" not in ptx, f"spills: {used}"
    assert used["REG"] <= REGISTERS[dtype], used
    vector = VECTOR[dtype]
    # The gradient of a linear game does not depend on the logits: it does not read them.
    reads = constants["PHI"] != "linear" or variant not in ("gradient", "gradient-of-a-pair")
    assert (f"ld.global.{vector}" in ptx) == (aligned and reads)
    if kernel in (map_kernel, map_pair_kernel):
        assert (f"st.global.{vector}" in ptx) == aligned
        assert "atom." not in ptx
    elif variant in ("sum", "sum-of-a-pair"):
        assert re.findall(r"\batom\.\S+", ptx) == ["atom.global.gpu.acq_rel.add.u32"]
        # The other programs' partial sums never come from this processor's own cache.
        assert "ld.global.cg" in ptx
    assert "ld.global.nc" not in ptx
    return ptx


@pytest.mark.parametrize(
    ("capability", "dtype", "phi", "variant"),
    each_on_a_gpu(DTYPES, PHIS, ["sum-of-a-pair", "gradient-of-a-pair"]),
)
def test_every_phi(capability, dtype, phi, variant, tmp_path):
    check(variant, dtype, capability, tmp_path, PHI=phi, NOISY=False)


@pytest.mark.parametrize("variant", ["sum", "gradient"])
@pytest.mark.parametrize(("dtype", "phi"), list(zip(cycle(DTYPES), PHIS, strict=False)))
def test_every_phi_for_more_tensors(dtype, phi, variant, tmp_path):
    """The same functions with more arguments: one architecture and dtype is enough."""
    check(variant, dtype, 90, tmp_path, PHI=phi, NOISY=False)


@pytest.mark.parametrize(("capability", "dtype", "variant"), each_on_a_gpu(DTYPES, VARIANTS))
def test_other_variants(capability, dtype, variant, tmp_path):
    check(variant, dtype, capability, tmp_path, PHI="cross_entropy", NOISY=False)


@pytest.mark.parametrize(
    ("capability", "dtype", "variant"), each_on_a_gpu(["float64", "float32", "bfloat16"], VARIANTS)
)
def test_noise_and_many_tensors(capability, dtype, variant, tmp_path):
    # A small sum is of at most four programs.
    tensors = 2 if variant.endswith("pair") else 4 if variant == "small-sum" else 8
    check(variant, dtype, capability, tmp_path, tensors, PHI="cross_entropy", NOISY=True)


@pytest.mark.parametrize(("capability", "dtype", "variant"), each_on_a_gpu(DTYPES, VARIANTS))
def test_differences(capability, dtype, variant, tmp_path):
    check(variant, dtype, capability, tmp_path, PHI="cross_entropy", PAIRED=True, NOISY=False)


def never_launched(dtype, variant, paired):
    return (dtype, variant[:9], paired) == ("float64", "small-sum", True)


@pytest.mark.parametrize(
    ("capability", "dtype", "variant", "paired"),
    each_on_a_gpu(
        DTYPES, [n for n in VARIANTS if "sum" in n], [False, True], unless=never_launched
    ),
)
def test_statistics(capability, dtype, variant, paired, tmp_path):
    constants = {"PHI": "cross_entropy", "PAIRED": paired, "NOISY": False, "statistics": True}
    check(variant, dtype, capability, tmp_path, **constants)


@pytest.mark.parametrize("variant", ["sum", "gradient", "sum-of-a-pair", "gradient-of-a-pair"])
def test_unaligned_addresses(variant, tmp_path):
    """A slice that starts at an odd element: correct, without vectors."""
    check(variant, "float32", 90, tmp_path, aligned=False, PHI="cross_entropy", NOISY=False)


def test_the_table_has_a_row_for_each_kernel():
    """``python tests/nogpu/kernel_table.py`` prints it."""
    folder = Path(kernels.__file__).parent
    modules = [import_module(f"{kernels.__name__}.{path.stem}") for path in folder.glob("*.py")]
    there = {
        name
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, triton.JITFunction) and name.endswith("_kernel")
    }
    rows = list(kernel_table.triton_kernels())
    assert {kernel.__name__ for _, kernel, _ in rows} == there
    for name, _, compile_for in rows[::9]:
        assert "cubin" in compile_for(capability=90).asm
        row = kernel_table.Row(name, 90, 32, 0, 0)
        assert f"| {row.bytes or '-'} |" in row.markdown()
    assert kernel_table.Row("loss, gradient-of-each-of-a-pair", 90, 32, 0, 0).bytes == 12
    assert kernel_table.Row("adam_step_float32", 90, 44, 0, 0).bytes == 28
    assert kernel_table.Row("clip_weights_float16", 90, 32, 0, 0).bytes == 4
    assert kernel_table.Row("sqrtm_2_float32", 90, 148, 0, 0).bytes is None
