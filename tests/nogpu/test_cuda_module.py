"""The loader of the CUDA C++ kernels, without CuPy and with a stand-in for it."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import cuda_host
import numpy as np
import pytest
import torch

from ganfast.backends import cuda
from ganfast.backends.cuda import module

CPU = torch.device("cpu")
TEXT = """
#include "gan_math.h"
extern "C" __global__ void scale(const float* x, float* y, float by, long long n) {
  const long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x;
  if (i < n) y[i] = x ? by * x[i] : by;
}
extern "C" __global__ void fill(float* y, int n) {
  extern __shared__ float shared[];
  for (int i = threadIdx.x; i < n; i += blockDim.x) shared[i] = i;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = shared[i];
}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    real = module.csrc_dir()
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "text.cu").write_text(TEXT)
    (tmp_path / "gan_math.h").write_text((real / "gan_math.h").read_text())
    monkeypatch.setattr(module, "csrc_dir", lambda: tmp_path)


@pytest.fixture
def fresh():
    module.unavailable.cache_clear()
    yield
    module.unavailable.cache_clear()


def test_a_kernel_runs_with_what_it_declares(folder):
    x, y = torch.arange(300.0), torch.zeros(300)
    with cuda_host.gpu() as launches:
        module.launch("text.cu", "scale", 3, 128, (x, y, np.float32(3), np.int64(300)), device=CPU)
        assert torch.equal(y, 3 * x)
        module.launch("text.cu", "scale", 3, 128, (None, y, np.float32(3), np.int64(3)), device=CPU)
        assert torch.equal(y[:4], torch.tensor([3.0, 3, 3, 9]))
        module.launch("text.cu", "scale", 0, 128, (), device=CPU)
        assert launches == [("scale", 3, 128, 0)] * 2
        with pytest.raises(TypeError, match="NumPy scalar, got 300"):
            module.launch("text.cu", "scale", 3, 128, (x, y, np.float32(3), 300), device=CPU)


@pytest.mark.parametrize("capability", [80, 90])
def test_shared_memory_beyond_the_default_is_asked_for(folder, capability):
    assert cuda_host.SHARED[80] < cuda_host.SHARED[90]
    with cuda_host.gpu(capability):
        assert module.shared_memory(CPU) == cuda_host.SHARED[capability]
        for size in (1024, 40_000, 12_000):
            y = torch.zeros(size)
            arguments = (y, np.int32(size))
            module.launch("text.cu", "fill", 1, 64, arguments, device=CPU, shared_bytes=4 * size)
            assert torch.equal(y, torch.arange(float(size)))


def test_a_file_is_compiled_once_for_each_device(folder, monkeypatch):
    texts = []

    class Counted(cuda_host.RawModule):
        def __init__(self, **given):
            texts.append(given["code"])
            super().__init__(**given)

    monkeypatch.setattr(cuda_host, "RawModule", Counted)
    with cuda_host.gpu():
        for device in (0, 0, 1):
            monkeypatch.setattr(module.cuda, "current_device", lambda device=device: device)
            y = torch.zeros(4)
            for _ in range(2):
                module.launch(
                    "text.cu", "fill", 1, 32, (y, np.int32(4)), device=CPU, shared_bytes=16
                )
    assert len(texts) == 2 and all(text.startswith(TEXT) for text in texts)


def test_a_changed_header_is_another_text(folder, tmp_path, monkeypatch):
    """CuPy keeps binaries on disk by the text alone: an upgrade must not find yesterday's."""
    texts = []
    monkeypatch.setattr(cuda_host, "RawModule", lambda code, options: texts.append(code))
    header = tmp_path / "gan_math.h"
    for addition in ("", "// changed\n", ""):
        header.write_text(header.read_text().removesuffix("// changed\n") + addition)
        with cuda_host.gpu():
            module._module(module._text("text.cu", "fill"), 0)
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.parametrize("file", ["optim.cu", "batch_linalg.cu"])
def test_a_kernel_is_compiled_without_the_others(file):
    listed = re.findall(
        r"^[A-Z]+_KERNEL\((\w+),", (module.csrc_dir() / "cuda" / file).read_text(), re.M
    )
    assert len(listed) == len(set(listed)) > 10
    for kernel in listed:
        left = re.findall(r"^[A-Z]+_KERNEL\((\w+),", module._text(file, kernel), re.M)
        assert left == [kernel]
    library = cuda_host.build(module._text(file, listed[0]), (f"-I{module.csrc_dir()}",))
    assert hasattr(library, f"launch_{listed[0]}") and not hasattr(library, f"launch_{listed[1]}")


def test_why_not(monkeypatch, fresh):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "need a CUDA device, not cpu" in cuda.why_not("cpu")
    told = cuda.why_not("cuda")
    assert "CuPy cannot be imported" in told and "pip install 'ganfast[cuda13]'" in told


def test_an_old_or_broken_cupy_says_so(monkeypatch, fresh):
    old = SimpleNamespace(__version__="13.6.0", cuda=SimpleNamespace(Stream=object))
    monkeypatch.setitem(sys.modules, "cupy", old)
    assert "CuPy 13.6.0 is too old" in module.unavailable()
    module.unavailable.cache_clear()
    with cuda_host.gpu():
        assert module.unavailable() is None


def test_a_cupy_that_cannot_compile_is_found_out_once(monkeypatch, fresh):
    """Before the first step, so that the reference serves it; and `ganfast doctor` says why."""
    asked = []

    def no_headers(code, options):
        asked.append(options)
        raise RuntimeError("Failed to find CUDA headers.\nInstall nvidia-cuda-runtime")

    monkeypatch.setattr(cuda_host, "RawModule", no_headers)
    with cuda_host.gpu():
        for _ in range(2):
            told = cuda.why_not("cuda")
            assert told.startswith(
                "CuPy cannot compile kernels (RuntimeError: Failed to find CUDA headers. Install"
            )
        assert asked == [module.compile_options(module.csrc_dir())]


def test_the_backend_imports_neither_cupy_nor_triton_and_says_that_cupy_dies(tmp_path):
    (tmp_path / "cupy.py").write_text("raise RuntimeError('libcudart is gone')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import ganfast.backends.cuda;"
        "print({'cupy', 'triton'} & set(sys.modules) or 'none');"
        "from ganfast.backends.cuda.module import unavailable; print(unavailable())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, said = run.stdout.splitlines()
    assert imported == "none"
    assert said.startswith("CuPy is broken (RuntimeError: libcudart is gone)")
