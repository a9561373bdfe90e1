"""`import ganfast` is cheap, and brings nothing that needs a GPU or the demo's packages."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

OPTIONAL = ("triton", "cupy", "scipy", "sklearn", "matplotlib", "PIL", "tqdm", "safetensors")
ROUNDS = 5

PROGRAM = """
import json, sys, time
start = time.perf_counter()
import torch
middle = time.perf_counter()
before = set(sys.modules)
import ganfast
end = time.perf_counter()
added = sorted({name.split(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"torch": middle - start, "ganfast": end - middle, "added": added}))
"""


@pytest.fixture(scope="module")
def imports() -> list[dict]:
    """What importing costs and brings, in fresh processes."""
    runs = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return runs


@pytest.mark.slow
def test_adds_less_than_a_fifth_of_a_second(imports):
    assert statistics.median(run["ganfast"] for run in imports) < 0.2


@pytest.mark.slow
def test_brings_no_optional_package(imports):
    assert not set(imports[0]["added"]) & set(OPTIONAL)


@pytest.mark.slow
def test_says_nothing(imports):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import torch, ganfast"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
