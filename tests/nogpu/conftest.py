"""Gates for the GPU kernels that need no GPU.

Triton decides at import whether it interprets or compiles. The tests in ``interpreted`` are
collected only where TRITON_INTERPRET=1 was set from the start: test_interpreter.py runs them in a
process of their own, and is what says so where Triton is not installed. The tests of what the
compiler makes are collected only where it compiles. Those in ``simulated`` run on the GPU that
test_simulated_gpu.py simulates.
"""

import os
from importlib.util import find_spec

interprets = os.environ.get("TRITON_INTERPRET") == "1"
compiles = not interprets and find_spec("triton") is not None

collect_ignore = [] if interprets else ["interpreted"]
collect_ignore_glob = [] if compiles else ["test_aot*.py", "test_launches*.py"]


def pytest_ignore_collect(collection_path, config):
    simulated = config.pluginmanager.hasplugin("testing.simulated_gpu")
    return True if collection_path.name == "simulated" and not simulated else None
