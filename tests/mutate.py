"""Breaks the GPU kernels on purpose, one line at a time, and asks whether a test notices.

``make mutate`` works on a copy of the project (``MUTATE=barrier``: those with that word in their
name). Exit status 1 if a mutant survives. It takes minutes, so it is not part of the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testing.simulated_gpu import suites

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("ganfast", "csrc", "tests", "testing", "pyproject.toml")

OPS = ("testing.simulated_gpu", "tests/gpu/test_gpu_ops.py", "-k")
LOSSES = (*OPS, "discriminator_loss and float32")
LARGER_LOSSES = (*OPS, "discriminator_loss and float64")  # in several programs
PENALTY = (*OPS, "(penalty or interpolate) and float32")
PREPROCESS = (*OPS, "preprocess")
STEPS = ("pytest", "tests/nogpu/test_cuda_ops.py", "-k", "rmsprop or adam or clip")
CHUNKS = ("pytest", "tests/nogpu/test_cuda_tables.py", "-k", "each_block_finds")
SCALER = ("pytest", "tests/nogpu/test_cuda_optim.py", "-k", "scaler_is_read")
COUNTERS = ("pytest", "tests/nogpu/test_cuda_optim.py", "-k", "other_counters")
PICTURES = ("testing.simulated_gpu", "tests/gpu/test_gpu_formulas.py", "-k", "begin_anywhere")
CAPTURED = ("testing.simulated_gpu", "tests/gpu/test_gpu_optim.py", "-k", "captured")
MATRICES = ("pytest", "tests/nogpu/test_cuda_ops.py", "-k", "sqrtm")
RACES = ("pytest", "tests/nogpu/test_races.py", "-k", "test_no_race")


OF_OPTIM_CU = (
    ("index: the chunk", "table[mine] <= static_cast", "table[mine] < static_cast", CHUNKS),
    (
        "index: what is left over",
        "i = packed + threadIdx.x;",
        "i = packed + threadIdx.x + 1;",
        CHUNKS,
    ),
    (
        "index: the words of a thread",
        "i += kThreads * kWords",
        "i += 2 * kThreads * kWords",
        CHUNKS,
    ),
    ("sign: maximize", "maximize ? -1.0 : 1.0", "maximize ? 1.0 : -1.0", STEPS),
    ("sign: found_inf", "found_inf && *found_inf != 0", "found_inf && *found_inf == 0", SCALER),
    ("scale: the gradient", "1.0 / *grad_scale", "1.0 * *grad_scale", SCALER),
    (
        "store: the gradient",
        "bit(kG), kWritten>(chunk, unscale != 1",
        "bit(kG), kWritten>(chunk, false",
        SCALER,
    ),
    ("number: a later step", "more == 0) return o", "more >= 0) return o", COUNTERS),
    ("number: a step on the device", "if (!counter && more", "if (more", CAPTURED),
    ("number: a rate on the device", "lr_at ? static_cast<double>(*lr_at) : lr", "lr", CAPTURED),
)


@dataclass
class Mutant:
    name: str
    file: str
    old: str
    new: str
    gate: tuple[str, ...]
    which: int = 0  # of those places where `old` stands

    def apply(self, folder: Path) -> None:
        path = folder / self.file
        pieces = path.read_text().split(self.old)
        if len(pieces) < self.which + 2:
            raise SystemExit(f"{self.name}: {self.file} has changed; its line is gone: {self.old}")
        before, after = pieces[: self.which + 1], pieces[self.which + 1 :]
        path.write_text(self.old.join(before) + self.new + self.old.join(after))


def mutants() -> Iterator[Mutant]:
    kernels = "ganfast/backends/triton/kernels"
    phi, rows, losses = f"{kernels}/phi.py", f"{kernels}/rows.py", f"{kernels}/losses.py"
    blocks = f"{kernels}/blocks.py"
    optim = "csrc/optim_math.h"
    yield Mutant("sign: cross entropy", phi, "(1.0 - t) - q, q - t", "(1.0 - t) - q, t - q", LOSSES)
    yield Mutant("sign: half square", phi, "y = x - t", "y = t - x", LOSSES)
    yield Mutant("sign: hinge", phi, "sign = 1.0 - 2.0 * t", "sign = 2.0 * t - 1.0", LOSSES)
    yield Mutant("sign: exponential", phi, "y = -exp(x)", "y = exp(x)", LOSSES, which=1)
    yield Mutant(
        "sign: decay of RMSprop",
        optim,
        "p - s.lr * (g",
        "p + s.lr * (g",
        STEPS,
    )
    yield Mutant(
        "sign: step of Adam",
        optim,
        "p = p - s.lr * (m",
        "p = p + s.lr * (m",
        STEPS,
    )
    yield Mutant(
        "sign: bound of the clip", optim, "A::at_least(-bound, x)", "A::at_least(bound, x)", STEPS
    )
    yield Mutant(
        "mask: a store of the losses",
        losses,
        "values, mask=lanes < n - start",
        "values, mask=lanes <= n - start",
        LOSSES,
    )
    yield Mutant(
        "mask: a load of the losses",
        blocks,
        "mask=lanes < count - start",
        "mask=lanes <= count - start",
        LOSSES,
    )
    yield Mutant(
        "mask: a block of rows, loaded",
        rows,
        "mask=lanes < left, other",
        "mask=lanes <= left, other",
        PENALTY,
    )
    yield Mutant(
        "mask: a block of rows, stored",
        rows,
        "value, mask=lanes < left",
        "value, mask=lanes <= left",
        PENALTY,
    )
    yield Mutant(
        "mask: a picture",
        f"{kernels}/preprocess.py",
        "(0, BLOCK) < left",
        "(0, BLOCK) <= left",
        PREPROCESS,
    )
    yield Mutant(
        "index: the picture of a block",
        f"{kernels}/preprocess.py",
        "image = 2 * image + over",
        "image = image + over",
        PICTURES,
    )
    yield Mutant(
        "order: the losses' counter", losses, 'sem="acq_rel"', 'sem="relaxed"', LARGER_LOSSES
    )
    yield Mutant("order: the penalty's counter", rows, 'sem="acq_rel"', 'sem="relaxed"', PENALTY)
    for file in ("jacobi.h", "batch_linalg.cu"):
        source = f"csrc/cuda/{file}"
        for i in range((ROOT / source).read_text().count("G::sync();")):
            yield Mutant(f"barrier {i + 1} of {file}", source, "G::sync();", "", RACES, which=i)
    yield Mutant("barrier of optim.cu", "csrc/cuda/optim.cu", "__syncthreads();", "", RACES)
    for name, old, new, gate in OF_OPTIM_CU:
        yield Mutant(f"{name} of optim.cu", "csrc/cuda/optim.cu", old, new, gate)
    yield Mutant(
        "sign: a rotation",
        "csrc/cuda/jacobi.h",
        "c * x[e] - s * y[e]",
        "c * x[e] + s * y[e]",
        MATRICES,
    )


def survives(mutant: Mutant, folder: Path, broken: bool = True) -> bool:
    """Whether the gate is green with ``mutant``; without it if it is not to be ``broken``."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    if broken:
        mutant.apply(folder)
    module, *given = mutant.gate
    surroundings = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "SIMULATED_GPU": str(suites.FOLDER),
        "TRITON_CACHE_DIR": str(folder / "cache"),
    }
    run = subprocess.run(
        [sys.executable, "-m", module, "-x", "-q", "-p", "no:cacheprovider", *given],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
    )
    if broken and run.returncode < 0:  # it wrote where nothing was, and a signal ended the tests
        return False
    # 1: a test failed. Whatever else is no answer: nothing was collected, pytest did not start.
    if run.returncode not in (0, 1) or re.search(
        r"\bno tests ran\b|[1-9]\d* errors?\b", run.stdout
    ):
        raise SystemExit(f"{mutant.name}: its gate did not run:\n{run.stdout}{run.stderr}")
    if run.returncode == 0 and not re.search(r"[1-9]\d* passed", run.stdout):
        raise SystemExit(f"{mutant.name}: its gate ran no test:\n{run.stdout}")
    return run.returncode == 0


def main(word: str = "") -> int:
    if reason := suites.unavailable():
        raise SystemExit(reason)
    chosen = [each for each in mutants() if word in each.name]
    alive = []
    with tempfile.TemporaryDirectory() as name:
        # A gate that is red anyway would notice everything.
        for each in {each.gate: each for each in chosen}.values():
            if not survives(each, Path(name), broken=False):
                raise SystemExit(f"red without any mutant: {' '.join(each.gate)}")
        for each in chosen:
            alive += [each.name] if survives(each, Path(name)) else []
            print("SURVIVES" if each.name in alive else "noticed ", each.name, flush=True)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} noticed")
    return bool(alive) or not chosen


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
