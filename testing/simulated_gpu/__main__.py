"""The suites on the simulated GPU: ``python -m testing.simulated_gpu [pytest's arguments]``."""

import sys

from testing.simulated_gpu.suites import WHOLE, run

# Given tests replace the suites; given options add to them.
given = sys.argv[1:]
sys.exit(run(given if any("tests" in word for word in given) else [*WHOLE, *given]).returncode)
