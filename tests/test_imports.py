"""`import ganfast` is next to free: torch, NumPy and all else come with the first name in use."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ganfast

OPTIONAL = ("triton", "cupy", "scipy", "sklearn", "matplotlib", "PIL", "tqdm", "safetensors")
HEAVY = ("torch", "numpy", *OPTIONAL)
ROUNDS = 5

ALONE = """
import json, sys, time
start = time.perf_counter()
import ganfast
print(json.dumps({"seconds": time.perf_counter() - start, "modules": sorted(sys.modules)}))
"""

AFTER_TORCH = """
import json, sys, time
import torch
before, start = set(sys.modules), time.perf_counter()
import ganfast
import ganfast.functional as GF
from ganfast import GANLoss
ganfast.backend, ganfast.explain
end = time.perf_counter()
print(json.dumps({"seconds": end - start, "modules": sorted(set(sys.modules) - before)}))
"""

ANSWERS = """
import contextlib, io, json, sys
from ganfast import cli
codes = []
for argv in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            codes.append(cli.main(argv))
        except SystemExit as stop:
            codes.append(stop.code)
print(json.dumps({"codes": codes, "modules": sorted(sys.modules)}))
"""


def told_by(program: str, *argv: str) -> dict:
    """What a fresh process prints, and the top-level names of the modules in it."""
    command = [sys.executable, "-c", program, *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    told["packages"] = {name.split(".")[0] for name in told["modules"]}
    return told


def test_brings_nothing_heavy():
    told = told_by(ALONE)
    assert not told["packages"] & set(HEAVY)
    assert {name for name in told["modules"] if name.startswith("ganfast")} == {"ganfast"}


@pytest.mark.slow
def test_takes_next_to_no_time():
    assert statistics.median(told_by(ALONE)["seconds"] for _ in range(ROUNDS)) < 0.1


@pytest.mark.slow
def test_the_names_in_use_add_less_than_a_fifth_of_a_second_to_torch():
    runs = [told_by(AFTER_TORCH) for _ in range(ROUNDS)]
    assert statistics.median(run["seconds"] for run in runs) < 0.2
    assert not runs[0]["packages"] & set(OPTIONAL)


@pytest.mark.slow
def test_says_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import torch; from ganfast import *; GANLoss"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_compiled_module_comes_after_torch():
    """Both then share one OpenMP runtime."""
    program = (
        "import sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name != 'ganfast._cpu' or 'torch' in sys.modules\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import ganfast\n"
        "ganfast.functional; ganfast._dispatch\n"
        "import ganfast.backends.cpu\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    built = list(Path(ganfast.__file__).parent.glob("_cpu*"))
    assert "AssertionError" not in done.stderr
    assert done.returncode == 0 or not [path for path in built if path.suffix != ".pyi"]


def test_every_name_is_there_and_listed():
    for name in [*ganfast.__all__, "nn", "errors", "__version__"]:
        assert name in dir(ganfast)
        assert getattr(ganfast, name) is getattr(ganfast, name)
    assert {"Run", "TrainConfig", "train"} <= set(dir(ganfast.train))
    for module in (ganfast, ganfast.train):
        with pytest.raises(AttributeError, match="no attribute 'discriminate'"):
            _ = module.discriminate


@pytest.mark.slow
def test_a_star_import_leaves_the_nn_of_torch_alone():
    space: dict = {}
    exec("from ganfast import *", space)
    assert set(ganfast.__all__) <= set(space) and "nn" not in space


USAGE = [
    [],
    ["fdi"],
    ["fid"],
    ["fid", "real"],
    ["fid", "real", "fake", "--protocol", "pytorchfid"],
    ["fid", "real", "fake", "--batch-size", "0"],
    ["fid", "real", "fake", "--certify", "--precision", "fp32"],
    ["stats", "images"],
    ["stats", "images", "out.npy"],
    ["train", "--game", "gan"],
    ["train", "--steps", "0"],
    ["train", "--data", "folder:"],
    ["train", "--device", "tpu0"],
    ["bench", "now"],
]


def test_usage_is_told_without_torch(tmp_path):
    helped = [["--help"], ["--version"]]
    helped += [[name, "--help"] for name in ("fid", "stats", "train", "demo", "doctor", "bench")]
    nowhere = str(tmp_path / "nowhere")
    failed = [["fid", nowhere, nowhere], ["stats", nowhere, str(tmp_path / "out.npz")]]
    told = told_by(ANSWERS, json.dumps([*helped, *USAGE, *failed]))
    assert told["codes"] == [0] * len(helped) + [2] * len(USAGE) + [1] * len(failed)
    assert not told["packages"] & set(HEAVY)


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["fid", "--help"], ["--version"], ["fid"]])
def test_usage_is_told_within_a_second(argv):
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ganfast", *argv], capture_output=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1
