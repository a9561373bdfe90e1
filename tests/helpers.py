"""What several tests share: stand-ins, and processes that are one group."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from typing import Any


class FakeClock:
    """Time that passes only when a step says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def step(self, name: str, *seconds: float, result: Any = None) -> Callable[[], Any]:
        """A step that takes these times in turn."""
        times = cycle(seconds)

        def run() -> Any:
            self.calls.append(name)
            self.now += next(times)
            return result

        return run


def two_processes(work: Callable[..., None], *arguments: Any, also: tuple[str, ...] = ()) -> None:
    """``work(rank, *arguments)`` for the ranks 0 and 1, each in a process of its own.

    Both are forked from one that has imported ``work``'s module, which takes seconds, and those
    named in ``also``, and has no threads; where there is no such server each imports them itself.
    """
    import torch.multiprocessing as mp

    method = "forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn"
    if method == "forkserver":
        multiprocessing.set_forkserver_preload([work.__module__, *also])
    mp.start_processes(work, args=arguments, nprocs=2, start_method=method)


def pair(command: list[str], **environment: str) -> list[tuple[int, str, str]]:
    """Two processes that nobody ends but themselves: exit code, stdout and stderr of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **shared, **environment, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]
