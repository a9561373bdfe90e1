"""One pass over one side's images: each is decoded, seen by the network and forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ganfast.interrupt import Interrupt
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.images import Batch, ImageSource, Skipped
from ganfast.metrics.progress import Progress
from ganfast.metrics.ranks import Ranks
from ganfast.metrics.stopwatch import Stopwatch
from ganfast.metrics.summary import Summary

SAVE_EVERY = 30.0
"""Seconds between two savings of a run's state. One writes up to 100 MB at 2,048 features, a good
deal less than a second; a killed run loses at most this much work."""


@dataclass
class Side:
    """One of the two sets of images, and what is known of it so far."""

    name: str
    """The argument that it was given as: "real", "fake" or "images"."""
    source: ImageSource
    summary: Summary
    next_batch: int = 0
    """All of this process's batches before it are in ``summary``."""
    done: bool = False
    skipped: list[Skipped] = field(default_factory=list)
    seen: int = 0
    """Images that this run has put through the network; a resumed one began with more."""

    def look(
        self,
        extractor: Extractor,
        *,
        batch_size: int,
        workers: int,
        ranks: Ranks,
        stopwatch: Stopwatch,
        show: bool,
        save: Callable[[], None],
    ) -> None:
        """Take in all images that are left.

        ``save`` is called now and then, at the end, and when something stops the pass between two
        batches: a file that cannot be read, or Ctrl-C, which waits for the end of its batch.
        """
        if self.done:
            return
        batches = self.source.batches(
            batch_size,
            workers=workers,
            rank=ranks.rank,
            world_size=ranks.count,
            start=self.next_batch,
        )
        total = self._expected(ranks)
        done = self.summary.count + len(self.skipped)
        saved = time.monotonic()
        with Interrupt() as interrupt, Progress(self.name, total, done, show=show) as progress:
            while True:
                try:
                    with stopwatch("decode"):
                        batch = next(batches, None)
                except Exception:
                    save()
                    if interrupt.requested:  # it has reached the decoding processes first
                        break
                    raise
                if batch is None:
                    self.done = True
                    save()
                    break
                self._take(batch, extractor, stopwatch)
                progress.advance(len(batch.positions) + len(batch.skipped))
                if interrupt.requested or time.monotonic() - saved > SAVE_EVERY:
                    save()
                    saved = time.monotonic()
                if interrupt.requested:
                    break
            if interrupt.requested:
                raise KeyboardInterrupt

    def _take(self, batch: Batch, extractor: Extractor, stopwatch: Stopwatch) -> None:
        if batch.positions:
            with stopwatch("network"):
                features, logits = extractor(batch.images)
            with stopwatch("moments"):
                self.summary.add(features, logits, batch.positions)
        self.skipped += batch.skipped
        self.next_batch = batch.number + 1
        self.seen += len(batch.positions)

    def _expected(self, ranks: Ranks) -> int | None:
        """About how many images this process will have looked at."""
        count = self.source.count
        return None if count is None else -(-count // ranks.count)
