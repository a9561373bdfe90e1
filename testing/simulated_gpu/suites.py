"""Which tests the simulated GPU runs, and which of them it cannot answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_QUICK = (
    *("linalg", "linalg_gaussian", "linalg_inputs", "linalg_certificate", "linalg_polar"),
    *("linalg_transforms", "linalg_batch", "optim", "clip"),
)
_LONG = (
    *("linalg_accuracy", "linalg_gradients", "losses", "interpolate", "noise", "penalty"),
    "penalty_critics",
)

PART = (
    "tests/gpu/test_gpu_ops.py",
    "tests/gpu/test_gpu_optim.py",
    "tests/nogpu/simulated/test_simulation.py",
    *(f"tests/test_{name}.py" for name in _QUICK if name != "linalg_polar"),  # 9 s of products
)
"""What `make test` runs: every op, the optimizers and the linear algebra."""

WHOLE = (
    "tests/gpu",
    "tests/nogpu/simulated",
    *(f"tests/test_{name}.py" for name in (*_QUICK, *_LONG)),
    *(f"tests/metrics/test_{name}.py" for name in ("moments", "preprocess")),
)
"""What `make simulate` runs. The suites of the CPU need no change: every tensor is on `cuda`."""

_LARGE = "a launch of a thousand programs takes a minute"
_SEQUENTIAL = "everything runs in the order in which it was asked for"
_COMPILED = "Inductor wants a device that is there"
_CPU = "about the CPU"

NOT_SIMULATED = {
    "test_gpu_runtime.py::test_no_memory_but_the_results": "memory is the CPU's",
    "test_gpu_runtime.py::test_new_sizes_seeds_and_rates": "nothing is compiled for the device",
    "test_gpu_runtime.py::test_the_callers_stream": _SEQUENTIAL,
    "test_gpu_linalg.py::test_the_callers_stream": _SEQUENTIAL,
    "test_gpu_linalg.py::test_the_polar_route[1000": "torch's own products, as at 300",
    "test_gpu_evaluate.py::test_lower_precisions_come_near": "TF32 and cuDNN are the hardware's",
    "test_losses.py::test_autocast_returns_float32_for_half_precision": _CPU,
    "test_linalg_transforms.py::test_in_a_compiled_function": _COMPILED,
    "test_optim.py::test_inside_torch_compile": _COMPILED,
    "test_clip.py::test_inside_torch_compile": _COMPILED,
    "test_noise.py::test_a_seed_gives_one_key_wherever": _COMPILED,
    "test_noise.py::test_vmap_draws_as_its_randomness_says[True": _COMPILED,
    "test_optim.py::test_what_torch_refuses_is_refused": _CPU,
    "test_preprocess.py::test_larger_than_a_fresh_allocation": _LARGE,
    "test_preprocess.py::test_against_the_code_that_it_is_named_after[clean-(1024": _LARGE,
    "test_preprocess.py::test_no_images[reference]": _CPU,
    "test_preprocess.py::test_where_it_is_computed": _CPU,
    "test_preprocess.py::test_explain_and_forcing": _CPU,
    "test_penalty.py::test_another_default_device": _CPU,
    "test_penalty_critics.py::test_compiled_critics": _COMPILED,
    "test_linalg_gaussian.py::test_bad_input": _CPU,
    "test_linalg_batch.py::test_every_instruction_set": _CPU,
    "test_clip.py::test_every_instruction_set_and_number_of_threads": _CPU,
    "test_linalg_inputs.py::test_cupy_goes_through_dlpack": "has a stand-in for CuPy of its own",
}
"""By the beginning of the test's name, why no answer would mean anything, or is worth the wait."""


def why_not(nodeid: str) -> str | None:
    return next((reason for piece, reason in NOT_SIMULATED.items() if piece in nodeid), None)


FOLDER = Path(os.environ.get("SIMULATED_GPU") or Path(sys.prefix) / "simulated_gpu")
"""Where ``make simulate`` puts ttsem and the Triton that it wants, beside the environment's own."""


def unavailable() -> str | None:
    """Why nothing can be simulated here, or None."""
    if sys.version_info < (3, 11):
        return "the simulated GPU needs Python 3.11"
    missing = [name for name in ("triton", "ttsem") if not (FOLDER / name).is_dir()]
    if missing:
        return f"no {' and '.join(missing)} for the simulated GPU: `make simulate` installs them"
    return None if shutil.which("g++") else "g++ is not on PATH: it compiles the CUDA kernels"


def run(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """pytest on the simulated GPU, in a process of its own."""
    path = os.pathsep.join(filter(None, (str(FOLDER), str(ROOT), os.environ.get("PYTHONPATH"))))
    surroundings = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    surroundings.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-m", "pytest", "-p", "testing.simulated_gpu"]
    command += ["-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, env=surroundings, text=True, **options)
