"""The kernels of csrc/cuda on the host, and a stand-in for CuPy that launches them there.

With ``with cuda_host.gpu():`` the whole CUDA C++ backend, from the Python call down to the .cu text
(compiled by g++ with cuda_host.h), runs on CPU tensors. It also checks what a driver does not: that
each argument has the width that the kernel declares.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch

from ganfast._csrc_path import csrc_dir

HERE = Path(__file__).resolve().parent
DEFAULT_SHARED = 48 * 1024
SHARED = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
"""Bytes of shared memory that a block can have at most, by compute capability."""

PROCESSORS = 2

ERRORS = {1: "deadlock: a barrier that not every thread reaches", 2: "shared memory overrun"}
DYNAMIC = re.compile(
    r"extern\s+__dynamic_shared__\s+(?:__align__\(\d+\)\s+)?([\w ]+?)\s+(\w+)\[\];"
)
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(')

threads = False
"""Whether the threads of a block are threads of the host, for ThreadSanitizer (test_races.py)."""

order = 0
"""In which order the threads of a block take turns: 0 forwards, 1 backwards, others shuffled."""


def compiler() -> str:
    found = shutil.which("g++")
    if found is None:
        pytest.skip("g++ is not on PATH: it compiles the CUDA kernels for the host")
    return found


@cache
def _own_folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="cuda_host_")


def _folder() -> Path:
    """Where what is built lies: for one process alone, or for all those of a run of the suite."""
    return Path(os.environ.get("CUDA_HOST_BUILDS") or _own_folder().name)


@cache
def _precompiled(command: tuple[str, ...]) -> Path:
    """A folder with cuda_host.h, and the standard library in it, as ``command`` parses it: that is
    a third of what compiling a kernel takes. g++ passes over one that other options made."""
    made = hashlib.sha256("\0".join([*command, *_headers()]).encode()).hexdigest()
    folder = _folder() / f"{made}.headers"
    if not folder.exists():
        fresh = Path(tempfile.mkdtemp(dir=_folder()))
        header = [*command, "-x", "c++-header", str(HERE / "cuda_host.h")]
        header += ["-o", str(fresh / "cuda_host.h.gch")]
        subprocess.run(header, capture_output=True, check=True)
        with contextlib.suppress(OSError):  # another process was as fast
            fresh.rename(folder)
    return folder


@cache
def _headers() -> list[str]:
    return [path.read_text() for path in sorted(HERE.glob("*host*.h"))]


@cache
def build(code: str, options: tuple[str, ...] = ()) -> ctypes.CDLL:
    """A shared library with launch_<kernel> for every kernel in ``code``."""
    options = tuple(o for o in options if o.startswith("-I"))  # the others are NVRTC's
    folder = Path(tempfile.mkdtemp(dir=_folder()))
    # `extern` or not makes a difference to the host.
    code = re.sub(r"extern\s+__shared__", "extern __dynamic_shared__", code)
    (folder / "kernels.cu").write_text(code)
    expand = [compiler(), "-E", "-P", "-x", "c++", *options, str(folder / "kernels.cu")]
    expanded = subprocess.run(expand, capture_output=True, text=True, check=True).stdout
    kernels = KERNEL.findall(expanded)
    assert kernels, 'no extern "C" __global__ kernel in the text'
    # One array stands for the dynamic shared memory: a block has one, whatever it is called.
    arrays = dict(map(reversed, DYNAMIC.findall(expanded)))
    assert len(arrays) <= 1, f"one dynamic shared array for each file, not {sorted(arrays)}"
    lines = ['#include "cuda_host.h"', '#include "kernels.cu"']
    for name, kind in arrays.items():
        lines.append(f"__dynamic_shared__ {kind} {name}[host::kShared / sizeof({kind})];")
    shared = next(iter(arrays), "nullptr")
    lines += [
        f'extern "C" int launch_{kernel}(unsigned grid, unsigned threads, unsigned order,'
        " size_t shared_bytes, void** values, const int* widths, int count) {"
        f" return host::run({kernel}, {{grid, threads, order, shared_bytes}}, values, widths,"
        f" count, {shared}); }}"
        for kernel in kernels
    ]
    (folder / "launch.cpp").write_text("\n".join(lines) + "\n")
    command = [compiler(), "-std=c++17", "-O2", "-shared", "-fPIC", "-Wall", "-Wno-unknown-pragmas"]
    if threads:
        command += ["-DHOST_THREADS", "-fsanitize=thread", "-g1"]
    command += ["-Wno-unused-function", "-Wno-unused-variable"]
    command += [f"-I{_precompiled(tuple(command))}", f"-I{HERE}", *options]
    built = hashlib.sha256("\0".join([*command, expanded, *lines]).encode()).hexdigest()
    library = _folder() / f"{built}.so"
    if not library.exists():
        command += [str(folder / "launch.cpp"), "-o", str(folder / "kernels.so")]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0 and "warning" not in run.stderr, run.stderr
        (folder / "kernels.so").rename(library)
    return ctypes.CDLL(str(library))


def kernels(name: str) -> ctypes.CDLL:
    """csrc/cuda/``name`` for the host."""
    folder = csrc_dir()
    return build((folder / "cuda" / name).read_text(), (f"-I{folder}",))


@contextlib.contextmanager
def flushed():
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def launch(library: ctypes.CDLL, kernel: str, grid: int, threads: int, *values, shared=0) -> None:
    """Run a kernel on CPU tensors and NumPy scalars; AssertionError says what is wrong with it.

    Denormals are flushed meanwhile, as CuPy asks of NVRTC (-ftz=true).
    """
    # The bytes live in arrays of their own, which stay alive for the call.
    cells = [
        np.array([x.data_ptr()], dtype=np.uint64) if isinstance(x, torch.Tensor) else np.array([x])
        for x in values
    ]
    addresses = (ctypes.c_void_p * len(cells))(*(cell.ctypes.data for cell in cells))
    widths = (ctypes.c_int * len(cells))(*(cell.itemsize for cell in cells))
    with flushed():
        error = getattr(library, f"launch_{kernel}")(
            ctypes.c_uint(grid), ctypes.c_uint(threads), ctypes.c_uint(order),
            ctypes.c_size_t(shared), addresses, widths, ctypes.c_int(len(cells)),
        )  # fmt: skip
    if error >= 15:
        what = f"argument {error - 16}'s width" if error > 15 else f"not {len(cells)} arguments"
        raise AssertionError(f"{kernel} declares otherwise: {what}")
    assert error == 0, f"{kernel}: {ERRORS[error]}"


class RawModule:
    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        assert "--std=c++17" in options
        self.library = build(code, options)

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self.library, name)


class RawKernel:
    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.library, self.name = library, name
        self.max_dynamic_shared_size_bytes = DEFAULT_SHARED

    def __call__(self, grid, block, args, *, shared_mem=0):
        assert 0 < grid[0] < 2**31 and 0 < block[0] <= 1024 and len(grid) == len(block) == 1
        assert shared_mem <= self.max_dynamic_shared_size_bytes, "a launch that a device refuses"
        assert all(type(x) in CUPY_TAKES for x in args)
        launches.append((self.name, grid[0], block[0], shared_mem))
        launch(self.library, self.name, grid[0], block[0], *args, shared=shared_mem)


CUPY_TAKES = {np.dtype(code).type for code in "?bhilqBHILQefd"}

launches: list[tuple[str, int, int, int]] = []
"""Kernel, grid, threads and shared memory of every launch since ``gpu()`` was entered."""


def _install(cupy: object | None) -> None:
    # Not mock.patch.dict, which would also forget every module that is imported in the meantime.
    if cupy is None:
        sys.modules.pop("cupy", None)
    else:
        sys.modules["cupy"] = cupy


@contextlib.contextmanager
def gpu(capability: int = 90):
    """The CUDA backend serves CPU tensors inside, as a GPU of that compute capability would."""
    from ganfast.backends.cuda import module

    compiler()
    stream = SimpleNamespace(from_external=lambda handle: contextlib.nullcontext(handle))
    cupy = SimpleNamespace(
        __version__="14.0", cuda=SimpleNamespace(Stream=stream), RawModule=RawModule
    )
    facts = SimpleNamespace(
        shared_memory_per_block_optin=SHARED[capability], multi_processor_count=PROCESSORS
    )
    torch_cuda = SimpleNamespace(
        device=lambda _: contextlib.nullcontext(),
        current_device=lambda: 0,
        current_stream=lambda: SimpleNamespace(cuda_stream=0),
        get_device_properties=lambda _: facts,
    )
    caches = [f for f in vars(module).values() if hasattr(f, "cache_clear")]
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context
        stack.callback(_install, sys.modules.get("cupy"))
        _install(cupy)
        patch(mock.patch.object(module, "cuda", torch_cuda))
        if not threads:
            # All kernels of a file at once: one by one, as CuPy is asked for them, they would take
            # three times as long. test_cuda_module.py looks at the texts of each.
            text = module._text
            patch(mock.patch.object(module, "_text", lambda file, kernel: text(file, r"\w+")))
        launches.clear()
        for each in caches:
            each.cache_clear()
        try:
            yield launches
        finally:
            for each in caches:
                each.cache_clear()
