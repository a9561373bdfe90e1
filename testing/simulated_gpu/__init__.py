"""A CUDA GPU that is not there, as a plugin of pytest: ``pytest -p testing.simulated_gpu``.

Every tensor says that it is on ``cuda``. ttsem executes each Triton launch from Triton's own IR,
and tests/nogpu/cuda_host.py runs the .cu files in CuPy's place. Both check what no driver does:
bounds, memory that nobody has written (``torch.empty`` is full of NaN here), races between
programs, barriers that not everybody reaches. Not simulated: time, and what the hardware rounds in
its own way (TF32, approximate divisions and exponentials).

``python -m testing.simulated_gpu`` runs the suites of suites.py; ttsem and the Triton that it wants
lie in a folder of their own, which ``make simulate`` fills.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CAPABILITY = 90
"""Of the GPU that is simulated."""
ROOT = Path(__file__).resolve().parents[2]

_open = contextlib.ExitStack()
_simulates = False


def sized(hardware: int, simulated: int) -> int:
    """How many of something a test takes: where each thread is stepped through by a CPU, as few as
    still meet every branch, order and block that more would."""
    return simulated if _simulates else hardware


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    global _simulates
    _simulates = True
    sys.path[:0] = [str(ROOT / "tests" / "nogpu")]
    from testing.simulated_gpu import fake_cuda, happens_before, speed

    _open.enter_context(happens_before.understood())
    _open.enter_context(speed.fast())
    _open.enter_context(fake_cuda.installed(CAPABILITY))
    import cuda_host

    _open.enter_context(cuda_host.gpu(CAPABILITY))
    cuda_host.launch = fake_cuda.recorded(_in_turn(cuda_host))
    # find_spec() looks here for what is imported already.
    sys.modules["cupy"].__spec__ = importlib.machinery.ModuleSpec("cupy", None)


def _in_turn(cuda_host: Any) -> Callable[..., None]:
    """The shim's launch, each time with another order of the threads: no result depends on it."""
    launch, orders = cuda_host.launch, itertools.cycle((0, 1, 7, 8))

    def run(*args: Any, **kwargs: Any) -> None:
        cuda_host.order = next(orders)
        launch(*args, **kwargs)

    return run


def pytest_unconfigure() -> None:
    _open.close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from testing.simulated_gpu.suites import why_not

    for item in items:
        if reason := why_not(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=f"not simulated: {reason}"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    from testing.simulated_gpu import fake_cuda

    state = fake_cuda.state
    if state is not None and state.races_unchecked:
        terminalreporter.write_line(
            f"{state.races_unchecked} of {state.launches} launches were too large to look for races"
        )
