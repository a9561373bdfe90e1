"""ThreadSanitizer sees no race in the CUDA kernels: their threads are threads of the host here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
RACE = 66


def under_thread_sanitizer(*arguments: str) -> subprocess.CompletedProcess[str]:
    """threads_run.py in a process in which ThreadSanitizer was there from the start."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not on PATH: it compiles the CUDA kernels for the host")
    told = subprocess.run(["g++", "-print-file-name=libtsan.so"], capture_output=True, text=True)
    library = told.stdout.strip()
    if not Path(library).is_file():
        pytest.skip("g++ has no ThreadSanitizer (libtsan)")
    path = os.pathsep.join((str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")))
    return subprocess.run(
        [sys.executable, str(HERE / "threads_run.py"), *arguments],
        env={
            **os.environ,
            "LD_PRELOAD": library,
            "TSAN_OPTIONS": f"exitcode={RACE} halt_on_error=1",
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )


def test_no_race_but_where_a_barrier_is_forgotten():
    """In one process, which ends at the first race: torch's import takes seconds in each."""
    asked = "linalg,5,8,33", "optim", "probe,reverse_block"
    run = under_thread_sanitizer(*asked, "probe,race")
    assert run.stdout.split() == list(asked), run.stderr[-4000:]
    assert run.returncode == RACE and "data race" in run.stderr, run.stderr[-4000:]
