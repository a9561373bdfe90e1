"""One command in several processes, as torchrun starts them: `torchrun ... -m ganfast fid A B`."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from ganfast.commands.failure import exit_code, report_error
from ganfast.errors import InputError, one_line

TIMEOUT = timedelta(hours=6)
"""For the slowest process to come to where all exchange what they have. It is not what finds a
process that died: its connections close, and torchrun ends the others."""


@dataclass(frozen=True)
class Place:
    """This process's number among all, and the device that it works on (None: not decided)."""

    rank: int
    device: str | None

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks."""
        return self.rank == 0


@contextmanager
def joined(device: str | None, go_on: Callable[[], str] = str) -> Iterator[Place]:
    """Within, the processes that torchrun started are one group of torch.distributed, each on a GPU
    of its own or, with ``device`` "cpu" or no GPU, all on the CPU. Alone, nothing happens.

    What one process raises within ends all of them at once, and only the first to fail speaks:
    the others fail in turn because it left. ``go_on`` says, to whom a process was lost, how to go
    on from there.
    """
    names = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # without these it's no torchrun
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1 or any(n not in os.environ for n in names):
        yield Place(0, device)
        return
    store = _connect()
    try:
        place = _join(store, device)
        yield place
        _leave()
    except (Exception, KeyboardInterrupt) as error:
        _fail(store, error, go_on)


def _connect() -> Any:
    """The store in which the processes find each other."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if not dist.is_available():
        raise InputError("this torch has no torch.distributed: run without torchrun")
    try:
        return next(iter(rendezvous("env://")))[0]
    except (RuntimeError, ValueError) as error:  # torch's own types of it are RuntimeErrors
        raise InputError(f"the processes don't find each other: {error}") from error


def _join(store: Any, device: str | None) -> Place:
    import torch
    import torch.distributed as dist

    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    count = int(os.environ["WORLD_SIZE"])
    on_gpu = device != "cpu" and (device is not None or torch.cuda.is_available())
    dist.init_process_group(
        "nccl" if on_gpu and torch.cuda.is_available() else "gloo",
        store=store,
        rank=rank,
        world_size=count,
        timeout=TIMEOUT,
    )
    if not on_gpu:
        return Place(rank, "cpu")
    if device not in (None, "cuda"):
        raise InputError(f"--device: got {device!r}; under torchrun each process has its own: cuda")
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise InputError(
            f"this machine has {gpus} CUDA devices: start at most as many processes, "
            "or give --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return Place(rank, f"cuda:{local_rank}")


def _leave() -> None:
    """Nobody leaves, and nothing still holds the group, while its threads may be at work."""
    import torch.distributed as dist

    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def _fail(store: Any, error: BaseException, go_on: Callable[[], str]) -> NoReturn:
    """End this process without another word to the group, whose members may wait for us forever in
    an exchange that we shall not come to: an orderly exit could wait for them in turn."""
    if threading.current_thread() is threading.main_thread():
        # torchrun sends it as soon as another process has ended, twice, and it must not cut off
        # the one line that says why: the other ended because we speak.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = exit_code(error)
    if _is_first_to_fail(store):
        try:
            report_error(_in_words(error, go_on))
        except Exception:  # a bug: it keeps its traceback
            traceback.print_exception(error)
    import multiprocessing  # not for --help

    for worker in multiprocessing.active_children():  # nobody else would end them now
        worker.terminate()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _is_first_to_fail(store: Any) -> bool:
    try:
        return bool(store.add("ganfast/failed", 1) == 1)
    except RuntimeError:  # the store is gone: better twice than never
        return True


def _in_words(error: BaseException, go_on: Callable[[], str]) -> BaseException:
    """A lost connection is the network's or a killed process's doing, not a bug."""
    kind, text = type(error).__name__, str(error)
    if kind.startswith("Dist") or (kind == "RuntimeError" and "gloo" in text.lower()):
        lost = f"lost the other processes, of which one may have been killed: {one_line(error)}"
        return InputError("; ".join(filter(None, (lost, go_on()))))
    return error
