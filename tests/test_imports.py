"""`import ganfast` is next to free: torch, NumPy and all else come with the first name in use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ganfast

OPTIONAL = ("triton", "cupy", "scipy", "sklearn", "matplotlib", "PIL", "tqdm", "safetensors")
HEAVY = {"torch", "numpy", *OPTIONAL}

# How long an import takes depends on the machine and on what else it does; what it imports doesn't.
ALONE = """
import json, sys
before = set(sys.modules)
import ganfast
print(json.dumps({"modules": sorted(set(sys.modules) - before)}))
"""

AFTER_TORCH = """
import json, sys
import torch
before = set(sys.modules)
import ganfast
import ganfast.functional as GF
from ganfast import GANLoss
ganfast.backend, ganfast.explain
modules = sorted(set(sys.modules) - before)
from ganfast import *  # all the rest says nothing either
print(json.dumps({"modules": modules}))
"""

FIRST_USE = """
import json, sys
import numpy, torch
before = set(sys.modules)
from ganfast.metrics import evaluate
from ganfast.metrics.inception import fast, network
from ganfast.optim import Adam
import ganfast.train.run, ganfast.commands.train
numpy.savez(sys.argv[1], mu=numpy.zeros(3), sigma=numpy.eye(3))
state = {name: torch.zeros(shape) for name, shape in network.expected_state().items()}
fast.FastInception(network.build_network(state))
assert abs(evaluate(sys.argv[1], sys.argv[1])["fid"]) < 1e-9
weights = torch.zeros(3, requires_grad=True)
optimizer = Adam([weights], lr=0.1)
weights.sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print(json.dumps({"modules": sorted(set(sys.modules) - before)}))
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


def packages(modules: list[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def told_by(program: str, *argv: str) -> dict:
    """What a fresh process, to which a warning is an error, prints: one line, and no other."""
    command = [sys.executable, "-W", "error", "-c", program, *argv]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1), done
    return json.loads(done.stdout)


def test_brings_nothing_heavy():
    modules = told_by(ALONE)["modules"]
    assert packages(modules) <= {"ganfast", *sys.stdlib_module_names}
    assert {name for name in modules if name.startswith("ganfast")} == {"ganfast"}
    assert len(modules) < 20


@pytest.mark.slow
def test_the_names_in_use_add_to_torch_only_what_they_need():
    modules = told_by(AFTER_TORCH)["modules"]
    assert packages(modules) <= {"ganfast", "torch", "numpy", *sys.stdlib_module_names}
    rooms = {name.split(".")[1] for name in modules if name.startswith("ganfast.")}
    assert "functional" in rooms and not rooms & {"linalg", "metrics", "train", "commands"}


@pytest.mark.slow
def test_fid_and_training_start_without_the_compiler_of_torch(tmp_path):
    """Some of torch's functions import it where one would not think so, which takes a second."""
    modules = told_by(FIRST_USE, str(tmp_path / "a.npz"))["modules"]
    assert not {"sympy", "torch._dynamo", "torch.fx.experimental.symbolic_shapes"} & set(modules)
    assert not {"matplotlib", "sklearn"} & set(modules)


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
    helped += [
        [name, "--help"]
        for name in ("fid", "score", "stats", "compare", "train", "demo", "doctor", "bench")
    ]
    nowhere = str(tmp_path / "nowhere")
    failed = [["fid", nowhere, nowhere], ["stats", nowhere, str(tmp_path / "out.npz")]]
    told = told_by(ANSWERS, json.dumps([*helped, *USAGE, *failed]))
    assert told["codes"] == [0] * len(helped) + [2] * len(USAGE) + [1] * len(failed)
    assert not packages(told["modules"]) & HEAVY


@pytest.mark.parametrize("argv", [["fid", "--help"], ["--version"], ["fid"]])
def test_the_command_itself_imports_nothing_heavy(argv):
    command = [sys.executable, "-X", "importtime", "-m", "ganfast", *argv]
    lines = subprocess.run(command, capture_output=True, text=True).stderr.splitlines()
    modules = [line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")]
    assert "ganfast.cli" in modules and not packages(modules) & HEAVY
