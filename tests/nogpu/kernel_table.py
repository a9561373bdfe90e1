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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CAPABILITIES = (80, 90, 100)
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

    def markdown(self) -> str:
        share = f"{100 * self.warps // MOST_WARPS} %"
        return (
            f"| {self.kernel} | sm_{self.capability} | {self.registers} | {self.warps} ({share}) "
            f"| {self.stack} | {self.spills} |"
        )


HEAD = (
    "| kernel | GPU | registers | warps (of 64) | stack, bytes | spilled, bytes |\n"
    + "|---" * 6
    + "|"
)


def budget(kernel: str) -> int:
    patterns = (name for name in BUDGETS if re.fullmatch(rf"{name}(_float(32|64))?", kernel))
    return BUDGETS[next(patterns)]


def assembled(source: Path, folder: Path, csrc: Path) -> str | None:
    """What ptxas told of ``source``, compiled for every GPU as CuPy does; None without nvcc."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    command = [nvcc, "-std=c++17", "-ftz=true", "-c", "-Xptxas", "-v,-warn-spills", f"-I{csrc}"]
    command += [f"-gencode=arch=compute_{cc},code=sm_{cc}" for cc in CAPABILITIES]
    command += [str(source), "-o", str(folder / "kernels.o")]
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


def triton_rows(folder: Path) -> Iterator[Row]:
    """The losses in float32, as a launch asks for them: the mean, its gradient, a loss of each."""
    import aot
    from test_aot import VARIANTS

    for capability in CAPABILITIES:
        for name, (kernel, fixed) in VARIANTS.items():
            made = aot.build(kernel, "float32", capability, PHI="cross_entropy", **fixed)
            used = aot.resources(made.asm["cubin"], folder)
            yield Row(f"loss, {name}", capability, used["REG"], used["STACK"], used["LOCAL"])


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
