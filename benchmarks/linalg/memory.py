"""Prints the MB that one provider of the statistics needs at its peak, beside the features.

    python -m benchmarks.linalg.memory PROVIDER COUNT DIM

A high-water mark never falls, so each provider needs a process of its own.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

from benchmarks.linalg import statistics


def peak_kib() -> int:
    """Of this program. getrusage counts also what its parent held when it was started."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(provider: str, count: int, dim: int) -> None:
    function = statistics.PROVIDERS[provider]
    function(statistics.features(300, dim))  # libraries, threads and their buffers
    x = statistics.features(count, dim)
    before = peak_kib()
    function(x)
    print((peak_kib() - before) * 1024 / 1e6)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
