"""Every test draws the same numbers, whatever ran before it."""

from collections.abc import Iterator

import pytest
import torch

try:
    from ganfast import _cpu
except ImportError:  # not built
    ISAS = []
else:
    ISAS = _cpu.supported_isas()


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For work so small that a second thread only costs, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this processor runs, in use; skipped without the C++ kernels."""
    best = _cpu.isa()
    _cpu.use_isa(request.param)
    yield request.param
    _cpu.use_isa(best)
