"""Gates for the GPU kernels that need no GPU.

Triton decides at import whether it interprets or compiles. The tests in ``interpreted`` are
collected only where TRITON_INTERPRET=1 was set from the start: test_interpreter.py runs them in a
process of their own, and is what says so where Triton is not installed. The tests of what the
compiler makes are collected only where it compiles. Those in ``simulated`` run on the GPU that
test_simulated_gpu.py simulates.
"""

import os
from importlib.util import find_spec

import pytest

interprets = os.environ.get("TRITON_INTERPRET") == "1"
compiles = not interprets and find_spec("triton") is not None

collect_ignore = [] if interprets else ["interpreted"]
collect_ignore_glob = [] if compiles else ["test_aot*.py", "test_launches*.py"]


def pytest_ignore_collect(collection_path, config):
    simulated = config.pluginmanager.hasplugin("testing.simulated_gpu")
    return True if collection_path.name == "simulated" and not simulated else None


@pytest.fixture
def driver(monkeypatch, request):
    """A driver that only writes launches down; KERNELS of the test's module are compiled anew."""
    import triton
    from stub_driver import StubDriver

    from ganfast.backends.triton import launch

    def forget():
        launch._compiled.clear()
        for kernel in request.module.KERNELS:
            kernel.device_caches.clear()

    stub = StubDriver()
    # reset_active() would ask for the driver of a GPU.
    monkeypatch.setattr(triton.runtime.driver, "_active", stub)
    forget()
    yield stub
    forget()
