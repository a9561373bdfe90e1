"""Every test draws the same numbers, whatever ran before it."""

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import truth

try:
    from ganfast import _cpu
except ImportError:  # not built
    ISAS = []
else:
    ISAS = _cpu.supported_isas()


def pytest_configure(config: pytest.Config) -> None:
    """What nogpu/cuda_host.py builds is built once for a run, whichever of its processes asks; and
    Inductor writes plain C++: it would compile programs to ask what the processor can do."""
    os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "0")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what a shell starts with &
        signal.signal(signal.SIGINT, signal.default_int_handler)  # children are to be interrupted
    if "CUDA_HOST_BUILDS" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="cuda_host_")
        os.environ["CUDA_HOST_BUILDS"] = folder.name
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.environ.pop("CUDA_HOST_BUILDS"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """The modules and tests that are there afterwards stay: garbage collection leaves them out."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        if "MPLCONFIGDIR" not in os.environ:  # Matplotlib's list of fonts takes seconds to make
            patch.setenv("MPLCONFIGDIR", str(Path("~/.cache/matplotlib").expanduser()))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seed() -> None:
    if torch.cuda.is_available():
        torch.manual_seed(0)
    else:  # which keeps, for each kind of device that might come, a request and where it was made
        torch.default_generator.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For small work: a second thread would gain little, and on a busy machine mostly wait."""
    with truth.threads(1):
        yield


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this processor runs, in use; skipped without the C++ kernels."""
    best = _cpu.isa()
    _cpu.use_isa(request.param)
    yield request.param
    _cpu.use_isa(best)
