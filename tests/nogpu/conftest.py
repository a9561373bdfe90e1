"""Gates for the GPU kernels that need no GPU.

Triton decides at import whether it interprets or compiles, so the tests in ``interpreted`` are
collected only where TRITON_INTERPRET=1 was set from the start: test_interpreter.py runs them in a
process of their own.
"""

import os

collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
