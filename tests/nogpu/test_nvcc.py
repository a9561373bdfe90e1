"""The device code compiles for the GPUs that we mean, and nothing spills.

That is csrc/gan_math.h (through gan_math.cu), every csrc/cuda/*.cu, and the probe of the host's
stand-in: what g++ accepts there must be CUDA.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ganfast._csrc_path import csrc_dir
from ganfast.games import PHIS

HERE = Path(__file__).parent
CAPABILITIES = ("80", "90", "100")
CLASSES = ["".join(word.title() for word in name.split("_")) for name in PHIS]
SOURCES = [
    HERE / "gan_math.cu",
    HERE / "host_probe.cu",
    *sorted((csrc_dir() / "cuda").glob("*.cu")),
]


def compile_for_every_gpu(source: Path, folder: Path) -> tuple[set[tuple[str, str]], str]:
    """(kernel, architecture) of all that nvcc compiled, and what ptxas told of it."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH")
    command = [nvcc, "-std=c++17", "-c", "-Xptxas", "-v,-warn-spills", f"-I{csrc_dir()}"]
    command += [f"-gencode=arch=compute_{cc},code=sm_{cc}" for cc in CAPABILITIES]
    command += [str(source), "-o", str(folder / "kernels.o")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    told = run.stdout + run.stderr
    assert "warning" not in told, told
    return set(re.findall(r"Compiling entry function '(\w+)' for '(sm_\d+)", told)), told


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_compiles_for_every_gpu_without_spills(source, tmp_path):
    compiled, told = compile_for_every_gpu(source, tmp_path)
    names = {name for name, _ in compiled}
    assert names and compiled == {(name, f"sm_{cc}") for name in names for cc in CAPABILITIES}
    if source.name == "gan_math.cu":
        assert names == {f"{phi}_{t}" for phi in CLASSES for t in ("float", "double")}
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", told)
    assert len(spills) >= len(compiled) and set(spills) == {("0", "0")}, told
    # An array that is indexed at run time would live there, behind the cache.
    assert set(re.findall(r"(\d+) bytes stack frame", told)) == {"0"}, told


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
