"""Runs the tests in ``interpreted`` in a process where Triton interprets its kernels."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

HERE = Path(__file__).resolve().parent


def version_of(package):
    return tuple(int(part) for part in package.__version__.split(".")[:2])


@pytest.mark.slow
def test_kernels_agree_with_the_oracle_in_the_interpreter():
    triton = pytest.importorskip(
        "triton", reason="Triton is not installed: pip install 'ganfast[triton]'"
    )
    if version_of(triton) < (3, 7) and version_of(numpy) >= (2, 4):
        pytest.skip("the interpreter of Triton 3.6 cannot run loops with NumPy 2.4")
    # Triton 3.6's interpreter does what NumPy has deprecated since; nothing of ours is concerned.
    old = version_of(triton) < (3, 7)
    spare = ["-W", "ignore:Conversion of an array:DeprecationWarning"] if old else []
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *spare]
        + [str(HERE / "interpreted")],
        cwd=HERE.parents[1],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        pytest.fail(
            f"in the interpreter:\n{run.stdout[-6000:]}\n{run.stderr[-2000:]}", pytrace=False
        )
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 100, run.stdout
