"""Encoded files -> batches, decoded here or in worker processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ganfast._remote import RemoteError, shown
from ganfast._terminal import printable
from ganfast.errors import InputError, one_line
from ganfast.metrics.images.batch import BatchStream, PackedBatch, Skipped
from ganfast.metrics.images.decode import DecodeError, Decoder
from ganfast.metrics.images.encoded import EncodedFiles
from ganfast.metrics.images.formats import IMAGE_ENDINGS, RUN_CHART, RUN_FILES, ending
from ganfast.metrics.images.source import ImageSource, fingerprint

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
            except RemoteError as error:  # no fault of this file, so nothing to skip
                name = printable(self._files.full_name(position), lines=False)
                return InputError(
                    f"cannot read {name}: {one_line(error)}; see to the connection, and run it "
                    "again"
                )
            except DecodeError as error:
                name, reason = self._files.full_name(position), one_line(error)
                if self._on_error == "raise":
                    return InputError(
                        f"cannot read {printable(name, lines=False)}: {reason}; mend or remove it, "
                        'or leave such files out with --on-error skip (on_error="skip")'
                    )
                skipped.append(Skipped(name, reason))
        return PackedBatch.of(number, images, positions, skipped)

    def _decode(self, position: int) -> Any:
        try:
            data = self._files.read(position)
        except RemoteError:
            raise
        except Exception as error:  # of a damaged archive zipfile raises zlib.error and others
            why = error.strerror if isinstance(error, OSError) else None
            raise DecodeError(why or one_line(error)) from None
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
    except (RuntimeError, ConnectionError, EOFError) as error:
        # The last two where a worker dies in the middle of handing a batch over.
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise InputError(
            f"a worker process died, most likely because memory ran out ({one_line(error)}); use "
            "fewer workers or a smaller batch_size"
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


AHEAD = 2
"""Batches that a worker has ready or at work."""

BUDGET = 2 << 30
"""Bytes of pixels that all workers together may hold, if one batch is not more than that."""


def lookahead(
    files: EncodedFiles, decoder: Decoder, batch_size: int, workers: int
) -> tuple[int, int]:
    """(workers, batches ahead in each): AHEAD in ``workers``, less where large photographs would
    fill the memory: 50 of 12 megapixels take 1.8 GB.

    From the first file's header and the mean size of all files: an estimate, and reading more
    would make a compressed archive's front to end two.
    """
    try:
        first = decoder.pixel_bytes(files.read(0), files.names[0])
    except Exception:  # it will be reported in its turn
        return workers, AHEAD
    mean = sum(files.sizes) / len(files.sizes)
    share = mean / files.sizes[0] if files.sizes[0] else 1.0  # else sizes are not known
    batch = max(1.0, first * share * batch_size)
    if batch * workers * AHEAD <= BUDGET:
        return workers, AHEAD
    return max(1, min(workers, int(BUDGET / batch))), 1


class FileImages(ImageSource):
    """The images in a folder or an archive; InputError if there are none."""

    resumable = True

    def __init__(
        self, files: EncodedFiles, decoder: Decoder, on_error: str, name: str, what: str
    ) -> None:
        if not files.names:
            raise InputError(
                f"{what}: no images in {shown(files.path)!r}: {_instead(files.ignored)}"
            )
        _refuse_training_run(files, what)
        self._files, self._decoder, self._on_error = files, decoder, on_error
        self.name = name
        self.count = len(files.names)
        self.ignored = files.ignored
        # Tried here, before workers are forked.
        self.decoders = decoder.beside_pillow({ending(name) for name in files.names})
        self.fingerprint = fingerprint("files", [*files.names, *map(str, files.sizes)])

    def places(self) -> Iterator[str]:
        return self._files.places()

    def _batches(self, size: int, workers: int, first: int, step: int) -> BatchStream:
        return read_batches(
            self._files,
            self._decoder,
            self._numbers(size, first, step),
            size,
            workers=workers,
            on_error=self._on_error,
        )


def _refuse_training_run(files: EncodedFiles, what: str) -> None:
    for name in files.names:
        if not name.endswith(RUN_CHART):
            continue
        folder, last = os.path.split(name)
        if last == RUN_CHART and any(files.has(os.path.join(folder, one)) for one in RUN_FILES):
            run = os.path.join(shown(files.path), folder).rstrip("/")
            raise InputError(
                f"{what}: {run!r} is the folder of a training run: its {RUN_CHART} is a chart, "
                "and a picture in samples/ is a sheet of many; save samples one by one in a folder "
                "of their own and give that"
            )


def _instead(ignored: dict[str, int]) -> str:
    if not ignored:
        return "it is empty"
    seen = ", ".join(f"{count} {ending}" for ending, count in list(ignored.items())[:5])
    more = ", ..." if len(ignored) > 5 else ""
    total = sum(ignored.values())
    return (
        f"{total} file{'s' if total > 1 else ''} ({seen}{more}), and an image's name ends in one "
        f"of {' '.join(sorted(IMAGE_ENDINGS))}"
    )
