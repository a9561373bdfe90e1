"""Every test draws the same numbers, whatever ran before it."""

import os
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no process is left with one of them at the end."""
    first = (
        *("test_simulated_gpu", "test_interpreter", "test_races", "test_recipe", "test_packaging"),
        *("test_nvcc", "test_nvrtc"),
    )
    items.sort(key=lambda item: item.path.stem not in first)


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
    torch.manual_seed(0)


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
