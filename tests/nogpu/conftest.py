"""Gates for the GPU kernels that need no GPU.

Triton decides at import whether it interprets or compiles. The tests in ``interpreted`` are
collected only where TRITON_INTERPRET=1 was set from the start: test_interpreter.py runs them in a
process of their own, and is what says so where Triton is not installed. The tests of what the
compiler makes are collected only where it compiles. Those in ``simulated`` run on the GPU that
test_simulated_gpu.py simulates.
"""

import os
import sys
from importlib.util import find_spec

interprets = os.environ.get("TRITON_INTERPRET") == "1"
compiles = not interprets and find_spec("triton") is not None
simulates = "testing.simulated_gpu" in sys.modules

collect_ignore = [
    *(() if interprets else ("interpreted",)),
    *(() if simulates else ("simulated",)),
]
collect_ignore_glob = [] if compiles else ["test_aot*.py", "test_launches*.py"]
