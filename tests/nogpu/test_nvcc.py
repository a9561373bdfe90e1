"""csrc/gan_math.h compiles as device code for the GPUs that we mean, and nothing spills."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ganfast._csrc_path import csrc_dir
from ganfast.games import PHIS

CAPABILITIES = ("80", "90", "100")
CLASSES = ["".join(word.title() for word in name.split("_")) for name in PHIS]


def test_gan_math_compiles_for_every_gpu(tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH")
    command = [nvcc, "-std=c++17", "-c", "-Xptxas", "-v,-warn-spills", f"-I{csrc_dir()}"]
    command += [f"-gencode=arch=compute_{cc},code=sm_{cc}" for cc in CAPABILITIES]
    command += [str(Path(__file__).with_name("gan_math.cu")), "-o", str(tmp_path / "gan_math.o")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    told = run.stdout + run.stderr
    compiled = re.findall(r"Compiling entry function '(\w+)' for '(sm_\d+)", told)
    expected = {
        (f"{phi}_{t}", f"sm_{cc}")
        for phi in CLASSES
        for t in ("float", "double")
        for cc in CAPABILITIES
    }
    assert set(compiled) == expected
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", told)
    assert len(spills) >= len(expected) and set(spills) == {("0", "0")}, told
