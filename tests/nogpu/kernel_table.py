"""What the assembler made of each kernel: ``python tests/nogpu/kernel_table.py`` prints the table.

The registers of a kernel say how many warps a processor can hold, and so how much of the memory's
latency others can hide. ptxas tells of the .cu files, cuobjdump (Triton brings it) of the Triton
kernels. test_nvcc.py and the test_aot files hold the budgets.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CAPABILITIES = (80, 90, 100)
PTX_OF = {80: (80, 90), 100: (100,)}
"""The GPUs that one PTX is assembled for: compute_90's gave sm_90 the registers that compute_80's
does, in each of the 47 kernels, and would take another sixth of the time. sm_100 differs."""
MOST_WARPS = 64  # of a processor, on all of these

BUDGETS = {
    r"clip_weights_\w+": 32,
    r"rmsprop_step_(float32|b?float16)": 48,
    r"\w+_step_\w*float32": 64,
    r"\w+_step_\w*float16": 80,
    r"\w+_step_\w*float64": 96,
    r"\w+_step_\w*mixed": 112,
    "sqrtm_2": 152,
    "sqrtm_4": 152,
    "sqrtm_8": 128,
    "trace_sqrtm_2": 144,
    "trace_sqrtm_4": 144,
    "trace_sqrtm_8": 128,
}
"""By the kernel (of csrc/cuda; the first pattern that its name has): registers of a thread, on any
of these GPUs.

Above 128 a processor holds fewer than 16 warps: those kernels work in shared memory, which lets no
more in.
"""


BANDWIDTH = 3.35e12
"""Bytes a second of an H100, by its maker: what has to be moved takes no less than that."""

BYTES = {
    r"clip_weights_\w+": 2,
    r"rmsprop_step_centered_momentum_\w+": 9,
    r"rmsprop_step_(centered|momentum)_\w+": 7,
    r"rmsprop_step_\w+": 5,
    r"adam_step_amsgrad_\w+": 9,
    r"adam_step_\w+": 7,
    r"loss, sum.*": 1,
    r"loss, (values|gradient)(-of-a-pair)?": 2,
    r"loss, gradient-of-each.*": 3,
    r"features, value": 2,
    r"features, gradient": 3,
    r"penalty, interpolate.*": 3,
    r"penalty, (short|long)-penalty": 1,
    r"penalty, gradient": 2,
    r"penalty, long-product": 2,
    r"penalty, (long-)?second-order": 3,
    r"preprocessing, .*": 1,
}
"""By the kernel (as above): how often memory moves an element, read or written; of a picture, the
result. What is not here works in shared memory, multiplies matrices, or is one program."""

WIDTH = {"float64": 8, "float16": 2, "bfloat16": 2}


class Row(NamedTuple):
    kernel: str
    capability: int
    registers: int
    stack: int
    spills: int

    @property
    def warps(self) -> int:
        """How many warps the registers of a processor leave room for."""
        each = -(-32 * self.registers // 256) * 256  # given out in units of 256
        return min(MOST_WARPS, 4 * (16384 // each))  # by each of its four quarters

    @property
    def bytes(self) -> int | None:
        """Of each element, that memory has to move."""
        times = next((BYTES[name] for name in BYTES if re.fullmatch(name, self.kernel)), None)
        width = next((WIDTH[name] for name in WIDTH if self.kernel.endswith(f"_{name}")), 4)
        return None if times is None or self.kernel.endswith("_mixed") else times * width

    def markdown(self) -> str:
        share = f"{100 * self.warps // MOST_WARPS} %"
        moved = "- | -"
        if self.bytes is not None:
            moved = f"{self.bytes} | {1e6 * 2**24 * self.bytes / BANDWIDTH:.1f}"
        return (
            f"| {self.kernel} | sm_{self.capability} | {self.registers} | {self.warps} ({share}) "
            f"| {self.stack} | {self.spills} | {moved} |"
        )


HEAD = (
    "| kernel | GPU | registers | warps (of 64) | stack, bytes | spilled, bytes "
    "| bytes an element | us for 16 M elements, at least |\n" + "|---" * 8 + "|"
)


def budget(kernel: str) -> int:
    patterns = (name for name in BUDGETS if re.fullmatch(rf"{name}(_float(32|64))?", kernel))
    return BUDGETS[next(patterns)]


def assembled(source: Path, folder: Path, csrc: Path) -> str | None:
    """What ptxas told of ``source``, compiled for every GPU as CuPy does; None without nvcc."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    command = [nvcc, "-std=c++17", "-ftz=true", "-fatbin", "-Xptxas", "-v,-warn-spills"]
    command += [f"-I{csrc}", str(source), "-o", str(folder / "kernels.fatbin")]
    for compute, real in PTX_OF.items():
        command += [f"-gencode=arch=compute_{compute},code=[{','.join(f'sm_{cc}' for cc in real)}]"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


def rows(told: str) -> Iterator[Row]:
    """The rows of ptxas's text."""
    for part in told.split("Compiling entry function ")[1:]:
        name, capability = re.match(r"'(\w+)' for 'sm_(\d+)'", part).groups()
        stack, stores, loads = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part
        ).groups()
        registers = re.search(r"Used (\d+) registers", part)[1]
        yield Row(name, int(capability), int(registers), int(stack), int(stores) + int(loads))


def triton_kernels() -> Iterator[tuple[str, Any, Callable[[int], Any]]]:
    """Every Triton kernel, in float32 and as a launch asks for it: what it is called here, itself,
    and what compiles it for a GPU."""
    import aot
    import test_aot as losses
    import test_aot_features as features
    import test_aot_neighbours as neighbours
    import test_aot_penalty as penalty
    import test_aot_preprocess as pictures

    for name, (kernel, fixed) in losses.VARIANTS.items():
        given = {"PHI": "cross_entropy", **fixed}
        yield f"loss, {name}", kernel, partial(aot.build, kernel, "float32", **given)
    for name, kernel in features.KERNELS.items():
        made = partial(features.build, kernel, "float32", pairs=8, square=False)
        yield f"features, {name}", kernel, made
    for name, (kernel, _) in penalty.KERNELS.items():
        given = penalty.constants_of(name, "float32", name == "short-penalty")
        yield f"penalty, {name}", kernel, partial(penalty.build, kernel, "float32", **given)
    for name, (down, across, clip) in pictures.TAPS.items():
        for kernel in (pictures.preprocess_kernel, pictures.preprocess_each_kernel):
            each = ", of many sizes" if kernel is pictures.preprocess_each_kernel else ""
            given = {"down": down, "across": across, "clip": clip, "kernel": kernel}
            made = partial(pictures.build, dtype="float32", **given)
            yield f"preprocessing, {name}{each}", kernel, made
    for name, kernel, given in (
        ("nearest 5", neighbours.nearest_kernel, {"K": 5, "KEPT": 8}),
        ("balls", neighbours.ball_kernel, {"P": 2, "Q": 1}),
    ):
        made = partial(neighbours.build, kernel, dtype="float32", **given)
        yield f"neighbours, {name}", kernel, made


def triton_rows(folder: Path) -> Iterator[Row]:
    import aot

    for name, _, compiled in triton_kernels():
        for capability in CAPABILITIES:
            used = aot.resources(compiled(capability=capability).asm["cubin"], folder)
            yield Row(name, capability, used["REG"], used["STACK"], used["LOCAL"])


def main() -> None:
    from ganfast._csrc_path import csrc_dir

    csrc = csrc_dir()
    print(HEAD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in sorted((csrc / "cuda").glob("*.cu")):
            for row in sorted(rows(assembled(source, folder, csrc) or "")):
                print(row.markdown())
        for row in sorted(triton_rows(folder)):
            print(row.markdown())


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    main()
