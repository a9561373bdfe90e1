"""The device code compiles for the GPUs that we mean, and nothing spills.

That is csrc/gan_math.h (through gan_math.cu), every csrc/cuda/*.cu, and the probe of the host's
stand-in: what g++ accepts there must be CUDA.
"""

import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import kernel_table
import pytest

from ganfast._csrc_path import csrc_dir
from ganfast.backends.cuda import module
from ganfast.games import PHIS

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CLASSES = ["".join(word.title() for word in name.split("_")) for name in PHIS]
SOURCES = [
    HERE / "gan_math.cu",
    HERE / "host_probe.cu",
    *sorted((csrc_dir() / "cuda").glob("*.cu")),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_compiles_for_every_gpu_without_spills(source, tmp_path):
    told = kernel_table.assembled(source, tmp_path, csrc_dir())
    if told is None:
        pytest.skip("nvcc is not on PATH")
    assert "warning" not in told, told
    rows = list(kernel_table.rows(told))
    compiled = {(row.kernel, row.capability) for row in rows}
    names = {row.kernel for row in rows}
    assert names and compiled == set(product(names, kernel_table.CAPABILITIES))
    if source.name == "gan_math.cu":
        assert names == {f"{phi}_{t}" for phi in CLASSES for t in ("float", "double")}
    # A stack is an array that is indexed at run time: it would live behind the cache.
    assert all(row.stack == row.spills == 0 for row in rows), told
    if source.parent.name == "cuda":
        for row in rows:
            assert row.registers <= kernel_table.budget(row.kernel), row
    # Functions of their own, such as pow, are told of beside the kernels.
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", told)
    assert len(spills) >= len(compiled) and set(spills) == {("0", "0")}, told
    assert set(re.findall(r"(\d+) bytes stack frame", told)) == {"0"}, told


def test_what_the_table_says_of_a_kernel():
    told = """
ptxas info    : Compiling entry function 'busy' for 'sm_90'
ptxas info    : Function properties for busy
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 106 registers, used 1 barriers, 16 bytes smem
"""
    (row,) = kernel_table.rows(told)
    assert row == ("busy", 90, 106, 8, 16)
    assert row.warps == 16 and "| 106 | 16 (25 %) | 8 | 16 |" in row.markdown()
    assert row._replace(registers=26).warps == 64  # 512 threads of 128 registers, 2048 of 32
    assert row._replace(registers=128).warps == 16 and row._replace(registers=129).warps == 12
    assert kernel_table.budget("sqrtm_4_float32") == kernel_table.BUDGETS["sqrtm_4"]


def test_halves_are_converted_by_the_device_itself(tmp_path):
    """Arithmetic would not do: CuPy compiles with -ftz=true."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH")
    source = tmp_path / "halves.cu"
    source.write_text(
        '#include "half_bits.h"\n'
        'extern "C" __global__ void both(const unsigned short* x, float* y, unsigned short* z)'
        " { y[0] = half_bits::half_to_float(x[0]), z[0] = half_bits::float_to_half(y[1]); }\n"
    )
    command = [nvcc, "-std=c++17", "-ftz=true", "-ptx", f"-I{csrc_dir()}", str(source)]
    subprocess.run([*command, "-o", str(tmp_path / "halves.ptx")], check=True)
    ptx = (tmp_path / "halves.ptx").read_text()
    assert "cvt.f32.f16" in ptx and "cvt.rn.f16.f32" in ptx
    assert not re.search(r"\b(mul|add|sub|fma)\S*\.f32", ptx), ptx


def test_a_step_moves_16_bytes_at_a_time_and_takes_no_double_root_of_a_weight(tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH")
    command = [nvcc, "-std=c++17", "-ftz=true", "-arch=sm_90", "-ptx", f"-I{csrc_dir()}"]
    source = tmp_path / "adam.cu"
    source.write_text(module._text("optim.cu", "adam_step_float32"))
    subprocess.run([*command, str(source), "-o", str(tmp_path / "adam.ptx")], check=True)
    ptx = (tmp_path / "adam.ptx").read_text()
    assert ptx.count("ld.global.v4.f32") >= 4  # p, g, m, v
    assert ptx.count("st.global.v4.f32") >= 3
    loops = ptx[ptx.index("ld.global.v4") :]
    assert not re.search(r"\bsqrt\S*\.f64", loops), "one for each block, before the loops"
    assert len(re.findall(r"\bsqrt\S*\.f64", ptx)) == 1
    assert "sqrt.rn.ftz.f32" in loops
