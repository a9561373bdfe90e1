"""One pass over one side's images: each is decoded, seen by the network and forgotten."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ganfast._terminal import Progress
from ganfast.interrupt import Interrupt
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.evaluation.classes import StreamClasses
from ganfast.metrics.evaluation.run_state import SideState
from ganfast.metrics.evaluation.sharing import check_counts, shared_out
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.images import Batch, ImageSource, Skipped
from ganfast.metrics.images.stream import StreamImages
from ganfast.metrics.staging import Staging, on_the_host, parts
from ganfast.metrics.summary import Summary


@dataclass
class ImageSet:
    """One of the two sets of images, and what is known of it so far."""

    name: str
    """The argument that it was given as: "real", "fake" or "images"."""
    source: ImageSource
    summary: Summary
    others: list[tuple[Extractor, Summary]] = field(default_factory=list)
    """What else looks at the same images, and what is known of them by that."""
    classes: StreamClasses | None = None
    """Of the images, where these come with their labels."""
    next_batch: int = 0
    """All of this process's batches before it are in ``summary``."""
    done: bool = False
    skipped: list[Skipped] = field(default_factory=list)
    seen: int = 0
    """Images that this run has put through the network; a resumed one began with more."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the result should know of the pass."""

    @property
    def summaries(self) -> list[Summary]:
        return [self.summary, *(summary for _, summary in self.others)]

    def by_other(self, number: int) -> ImageSet:
        """What is known by the ``number``-th of ``others``."""
        return replace(self, summary=self.others[number][1], others=[])

    def scan(
        self,
        extractor: Extractor,
        *,
        batch_size: int,
        workers: int,
        ranks: Ranks,
        stopwatch: Stopwatch,
        show: bool,
        save: Callable[[bool], None],
    ) -> None:
        """Take in all images that are left.

        ``save`` is called after each batch, with True where it should not be put off: at the end,
        and when something stops the pass between two batches, which is a file that cannot be read,
        or Ctrl-C, which waits for the end of its batch.
        """
        # Also where this process is done, for whom the others wait.
        if ranks.count > 1 or isinstance(self.source, StreamImages):
            with stopwatch(self.source.stage):
                self.notes += shared_out(self.source, self.name, batch_size, ranks)
        if self.done:
            return
        batches = self.source.batches(
            batch_size,
            workers=workers,
            rank=ranks.rank,
            world_size=ranks.count,
            start=self.next_batch,
        )
        staging = Staging(extractor.device) if extractor.device.type == "cuda" else None
        total = self._expected(ranks)
        done = self.summary.count + len(self.skipped)
        with (
            contextlib.closing(batches),
            Interrupt() as interrupt,
            Progress(self.name, total, unit="images", done=done, show=show) as progress,
        ):
            while True:
                try:
                    with stopwatch(self.source.stage):
                        batch = next(batches, None)
                except Exception:
                    save(True)
                    if interrupt.requested:  # it has reached the decoding processes first
                        break
                    raise
                if batch is None:
                    with stopwatch("network"):  # a GPU may be at work yet
                        for summary in self.summaries:
                            summary.settle()
                    self.done = True
                    save(True)
                    break
                self._take(batch, extractor, staging, stopwatch)
                progress.advance(len(batch.positions) + len(batch.skipped))
                save(interrupt.requested)
                if interrupt.requested:
                    break
            interrupt.raise_if_requested()
        if ranks.count > 1:
            check_counts(self.source, self.name, ranks)

    def _take(
        self, batch: Batch, extractor: Extractor, staging: Staging | None, stopwatch: Stopwatch
    ) -> None:
        if batch.positions:
            if self.classes is not None and batch.labels is not None:
                self.classes.note(batch.labels, batch.positions)
            for each, summary in ((extractor, self.summary), *self.others):
                prepared = _prepared(batch.images, each, staging, stopwatch)
                with stopwatch("network"):
                    features, logits, spatial = each.extract(prepared)
                with stopwatch("moments"):
                    summary.add(features, logits, batch.positions, spatial)
        self.skipped += batch.skipped
        self.next_batch = batch.number + 1
        self.seen += len(batch.positions)

    def state(self) -> SideState:
        """What it takes to go on from here."""
        skipped = [(one.name, one.reason) for one in self.skipped]
        kept = self.summary.state_dict()
        for number, (_, summary) in enumerate(self.others, 1):
            kept |= {f"extractor.{number}.{key}": x for key, x in summary.state_dict().items()}
        return SideState(kept, self.next_batch, skipped, self.done)

    def restore(self, state: SideState) -> None:
        """Go on from there."""
        self.summary.load_state_dict(state.summary)
        for number, (_, summary) in enumerate(self.others, 1):
            start = f"extractor.{number}."
            own = {key.removeprefix(start): x for key, x in state.summary.items()
                   if key.startswith(start)}  # fmt: skip
            summary.load_state_dict(own)
        self.next_batch, self.done = state.next_batch, state.done
        self.skipped = [Skipped(name, reason) for name, reason in state.skipped]

    def _expected(self, ranks: Ranks) -> int | None:
        """About how many images this process will have looked at."""
        count = self.source.count
        return None if count is None else -(-count // ranks.count)


def _prepared(
    images: Tensor | list[Tensor],
    extractor: Extractor,
    staging: Staging | None,
    stopwatch: Stopwatch,
) -> Tensor:
    if staging is None or not on_the_host(images):
        with stopwatch("preprocess"):
            return extractor.prepare(images)
    made = []
    for part in parts(images):
        with stopwatch("network"):
            staging.wait()
        with stopwatch("preprocess"), staging.sent(part) as there:
            made.append(extractor.prepare(there))
    return made[0] if len(made) == 1 else torch.cat(made)


class Stopwatch:
    """Seconds by the name of the stage, in the order in which the stages first ran.

    A GPU works by itself: "network" is then the time that the host waits for it.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time inside the ``with`` block to ``stage``."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun
