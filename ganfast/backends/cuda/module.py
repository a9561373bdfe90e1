"""A .cu file of csrc/cuda as a module on a device, and the launch of its kernels.

CuPy compiles the text with NVRTC, each kernel when it is first wanted, once for each architecture
and machine (it keeps the binaries in ~/.cupy/kernel_cache); a CUDA toolkit is not needed. Nothing
here waits for the device, and a kernel that has run once can be captured in a CUDA graph.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, cuda

from ganfast._csrc_path import csrc_dir
from ganfast.errors import one_line

_HINT = "pip install 'ganfast[cuda13]' (or cuda12, as your torch's CUDA)"

_ALWAYS_THERE = 48 * 1024  # bytes of shared memory that a kernel has without asking

_PROBE = 'extern "C" __global__ void probe() {}\n'

Argument = Tensor | np.generic | None
"""A tensor or None goes to the kernel as an address, a NumPy scalar as the type that it has."""


@cache
def unavailable() -> str | None:
    """Why no kernel can run here, None if they can: it is CuPy that compiles and launches them."""
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({error}): {_HINT}"
    except Exception as error:  # whatever a half-installed GPU stack raises
        return f"CuPy is broken ({type(error).__name__}: {error}): {_HINT}"
    if not hasattr(cupy.cuda.Stream, "from_external"):
        return f"CuPy {cupy.__version__} is too old, version 14 is needed: {_HINT}"
    try:  # once: without CUDA's headers, say, CuPy imports, and fails at the first kernel
        cupy.RawModule(code=_PROBE, options=compile_options(csrc_dir())).get_function("probe")
    except Exception as error:
        return f"CuPy cannot compile kernels ({type(error).__name__}: {one_line(error)}): {_HINT}"
    return None


def launch(
    file: str,
    kernel: str,
    grid: int,
    threads: int,
    arguments: tuple[Argument, ...],
    *,
    device: torch.device,
    shared_bytes: int = 0,
) -> None:
    """Run ``kernel`` of csrc/cuda/``file`` on torch's current stream of ``device``.

    Args:
        grid, threads: how many blocks, and how many threads in each.
        arguments: tensors (None is a null pointer) and NumPy scalars of the very width that the
            kernel declares: a Python number has none, and the driver would read beyond it.
        shared_bytes: dynamic shared memory of a block, up to what the device has for one that asks
            (``shared_memory(device)``).

    Nothing is launched for a grid of 0.
    """
    if grid == 0:
        return
    with cuda.device(device):
        import cupy

        large = shared_bytes > _ALWAYS_THERE
        function = _function(file, kernel, cuda.current_device(), large)
        stream = _Stream(cuda.current_stream().cuda_stream)
        with cupy.cuda.Stream.from_external(stream):
            function(
                (grid,), (threads,), tuple(map(_as_argument, arguments)), shared_mem=shared_bytes
            )


@cache
def shared_memory(device: torch.device) -> int:
    """Bytes that one block can have: 163 KiB on sm_80, 227 on sm_90 and sm_100, 99 on GeForce."""
    facts = cuda.get_device_properties(device)
    return int(getattr(facts, "shared_memory_per_block_optin", _ALWAYS_THERE))


@cache
def processors(device: torch.device) -> int:
    """How many streaming multiprocessors the device has."""
    return int(cuda.get_device_properties(device).multi_processor_count)


class _Stream:
    """torch's stream by the protocol that CuPy reads; torch's own object has it only of late."""

    def __init__(self, address: int) -> None:
        self.address = address

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address


def _as_argument(argument: Argument) -> np.generic:
    if isinstance(argument, Tensor):
        return np.uint64(argument.data_ptr())
    if argument is None:
        return np.uint64(0)
    if not isinstance(argument, np.generic):
        raise TypeError(
            f"a kernel's argument must be a tensor, None or a NumPy scalar, got {argument!r}"
        )
    return argument


def compile_options(folder: Path) -> tuple[str, ...]:
    """What NVRTC is told, beside the architecture. Lambdas have no execution space of their own,
    and NVRTC, unlike nvcc, takes what has none for code of the host."""
    return "--std=c++17", "--device-as-default-execution-space", f"-I{folder}"


def _text(file: str, kernel: str) -> str:
    """What is compiled for ``kernel``. A file that has many kernels makes them by macros, a line
    ``SOME_KERNEL(name, ...)`` for each, and of those lines the one for this kernel is left: the
    whole of batch_linalg.cu would keep a first call waiting ten times as long."""
    folder = csrc_dir()
    code = (folder / "cuda" / file).read_text(encoding="utf-8")
    code = re.sub(rf"^[A-Z_]*KERNEL\((?!{kernel},).*\n", "", code, flags=re.MULTILINE)
    # CuPy finds a kept binary by the text and the options, not by the headers that it includes.
    headers = hashlib.sha256()
    for header in sorted(folder.rglob("*.h")):
        headers.update(header.read_bytes())
    return code + f"// headers: {headers.hexdigest()}\n"


@cache
def _module(code: str, device: int) -> Any:
    """The compiled text; asked for with ``device`` current."""
    import cupy

    return cupy.RawModule(code=code, options=compile_options(csrc_dir()))


@cache
def _function(file: str, kernel: str, device: int, large: bool) -> Any:
    function = _module(_text(file, kernel), device).get_function(kernel)
    if large:  # a kernel has to opt in; the attribute is a bound, a launch takes what it asks for
        function.max_dynamic_shared_size_bytes = shared_memory(torch.device("cuda", device))
    return function
