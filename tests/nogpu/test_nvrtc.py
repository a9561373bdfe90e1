"""NVRTC, which compiles on the user's machine, takes the device code as it is: it has no headers of
the host's, so what nvcc accepts may still fail there. It needs no driver.

The library comes with torch's CUDA builds and with CuPy, or by `pip install nvidia-cuda-nvrtc`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import os
import re
import shutil
from pathlib import Path

import pytest

from ganfast._csrc_path import csrc_dir
from ganfast.backends.cuda import module

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CUPY_ADDS = ("-ftz=true", "-arch={arch}", "--device-as-default-execution-space")
"""What CuPy appends to a RawModule's options, in its order, behind the folders of its headers and
CUDA's, which these files do not ask for; the last one stands there twice then. Read in compiler.py
and core.pyx of CuPy 14.0 to 14.2; with CUPY_NVRTC_USE_PCH=1, 14.1 and later add ``--pch``."""

SOURCES = [
    HERE / "gan_math.cu",
    HERE / "host_probe.cu",
    *sorted((csrc_dir() / "cuda").glob("*.cu")),
]


def find_nvrtc() -> str | None:
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        found = sorted(Path(folder).glob("*/lib/libnvrtc.so.*"))
        if found:
            return str(found[-1])
    return ctypes.util.find_library("nvrtc")


@pytest.fixture(scope="module")
def nvrtc():
    path = find_nvrtc()
    if path is None:
        required = os.environ.get("GANFAST_REQUIRE_SIM") == "1"  # what .ci/run asks for
        missing = pytest.fail if required else pytest.skip
        missing("libnvrtc is not installed: pip install nvidia-cuda-nvrtc")
    for part in Path(path).parent.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(part), mode=ctypes.RTLD_GLOBAL)  # NVRTC opens it by its bare name
    return ctypes.CDLL(path)


def version(nvrtc) -> tuple[int, int]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def compile_with(nvrtc, code: str, arch: str, *more: str) -> None:
    program = ctypes.c_void_p()
    created = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), code.encode(), b"kernels.cu", 0, None, None
    )
    assert created == 0
    added = [option.format(arch=arch) for option in CUPY_ADDS]
    options = [*module.compile_options(csrc_dir()), *added, *more]
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    assert failed == 0, log.value.decode()


# nvcc, where it is, assembles every kernel for every GPU (test_nvcc.py asks more of them): then
# the part of NVRTC's own, which ends at PTX, will do for the whole of a file.
WHOLE = ("compute_90",) if shutil.which("nvcc") else ("sm_80", "sm_90", "sm_100")


@pytest.mark.parametrize("arch", WHOLE)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_compiles(nvrtc, source, arch):
    compile_with(nvrtc, source.read_text(), arch)


@pytest.mark.parametrize("how", [("80",), ("90",), ("100",), ("90", "--pch")], ids=" ".join)
@pytest.mark.parametrize("source", SOURCES[2:], ids=lambda path: path.name)
def test_compiles_as_a_launch_wants_it(nvrtc, source, how):
    """The last kernel of the file, assembled; once with what CuPy may add."""
    capability, *more = how
    if more and version(nvrtc) < (12, 8):
        pytest.skip("CuPy gives --pch from NVRTC 12.8 on")
    kernels = re.findall(r"^[A-Z_]*KERNEL\((\w+),", source.read_text(), re.MULTILINE)
    compile_with(nvrtc, module._text(source.name, kernels[-1]), f"sm_{capability}", *more)
