"""Encoded files -> batches, decoded here or in worker processes."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ganfast.errors import InputError
from ganfast.metrics.images.batch import BatchStream, Skipped
from ganfast.metrics.images.decode import DecodeError, Decoder
from ganfast.metrics.images.encoded import EncodedFiles
from ganfast.metrics.images.lookahead import lookahead
from ganfast.metrics.images.packed import PackedBatch

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""On Linux a fork: two workers start in 0.05 s, where new interpreters, which import torch first,
took 4 s, and would run an unguarded script of the user's once more in each. What makes a fork
unsafe after torch used threads is a child that uses these threads (or the GPU): a worker only reads
files, runs Pillow and copies bytes, with torch told to use one thread before anything else.
Elsewhere the system's own libraries do not survive a fork."""


class BatchDataset(Dataset[Any]):
    """Batch number -> its packed images, or the InputError that ends the reading: an exception of
    DataLoader's would carry the worker's traceback."""

    def __init__(
        self, files: EncodedFiles, decoder: Decoder, batch_size: int, on_error: str
    ) -> None:
        self._files, self._decoder = files, decoder
        self._batch_size, self._on_error = batch_size, on_error

    def __getitem__(self, number: int) -> PackedBatch | InputError:
        start = number * self._batch_size
        stop = min(start + self._batch_size, len(self._files.names))
        images, positions = [], []
        skipped: list[Skipped] = []
        for position in range(start, stop):
            try:
                images.append(self._decode(position))
                positions.append(position)
            except DecodeError as error:
                name, reason = self._files.full_name(position), " ".join(str(error).split())
                if self._on_error == "raise":
                    return InputError(
                        f'cannot read {printable(name)}: {reason} (use on_error="skip" / '
                        "--on-error skip to leave such files out)"
                    )
                skipped.append(Skipped(name, reason))
        return PackedBatch.of(number, images, positions, skipped)

    def _decode(self, position: int) -> Any:
        try:
            data = self._files.read(position)
        except OSError as error:
            raise DecodeError(error.strerror or str(error)) from None
        except Exception as error:  # of a damaged archive: zipfile raises zlib.error and others
            raise DecodeError(str(error) or type(error).__name__) from None
        return self._decoder.decode(data, self._files.names[position])


class SharedBatches(BatchDataset):
    """The same in a worker."""

    def __getitem__(self, number: int) -> PackedBatch | InputError:
        packed = super().__getitem__(number)
        if isinstance(packed, PackedBatch):
            packed.share()
        return packed


def read_batches(
    files: EncodedFiles,
    decoder: Decoder,
    numbers: range,
    batch_size: int,
    *,
    workers: int,
    on_error: str,
) -> BatchStream:
    """The batches of these numbers, in this order. Raises InputError for a file that can't be read
    (unless ``on_error`` is "skip"), or if a worker dies."""
    workers = min(workers, len(numbers))
    results: Generator[PackedBatch | InputError, None, None]
    if workers:
        shared = SharedBatches(files, decoder, batch_size, on_error)
        workers, ahead = lookahead(files, decoder, batch_size, workers)
        results = _from_workers(shared, numbers, workers, ahead)
    else:
        dataset = BatchDataset(files, decoder, batch_size, on_error)
        results = (dataset[number] for number in numbers)
    try:
        for packed in results:
            if isinstance(packed, InputError):
                raise packed
            yield packed.unpack()
    finally:
        results.close()
        files.close()


def printable(name: str) -> str:
    """``name`` on one line that every terminal can show."""
    return name if name.isprintable() else repr(name)[1:-1]


def _from_workers(
    dataset: SharedBatches, numbers: range, workers: int, ahead: int
) -> Generator[PackedBatch | InputError, None, None]:
    with _quiet_start():
        loader = DataLoader(
            dataset,
            sampler=numbers,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=ahead,
            collate_fn=_as_it_is,
            worker_init_fn=_start_worker,
            multiprocessing_context=START_METHOD,
            generator=torch.Generator(),  # else it would draw from the user's
        )
        batches: Any = iter(loader)
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            "a worker process died, most likely because memory ran out: use fewer workers or a "
            f"smaller batch_size ({' '.join(str(error).split())})"
        ) from None
    finally:
        # Now, and not when the last traceback is gone that has it, as an interrupt's does.
        batches._shutdown_workers()


def _as_it_is(packed: Any) -> Any:
    return packed


def _start_worker(_: int) -> None:
    # Ctrl-C reaches all processes of a terminal: it is the first one that ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A handler that the program has for itself must not keep it from ending them.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _quiet_start() -> Iterator[None]:
    """While DataLoader starts workers.

    Its warning about more workers than cores is left out, as is Python's about a fork beside
    threads (see START_METHOD). Its signal handler is taken back: it would raise a dead worker's
    error anywhere in the program, where here it comes out of the iterator that has the worker.
    """
    main = threading.current_thread() is threading.main_thread()
    handles = main and hasattr(signal, "SIGCHLD")
    before = signal.getsignal(signal.SIGCHLD) if handles else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is not None:
            signal.signal(signal.SIGCHLD, before)
