"""Which process looks at which images, where torch.distributed has several."""

from __future__ import annotations

import contextlib

from ganfast.errors import InputError
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.images import ImageSource
from ganfast.metrics.images.arrays import ArrayImages
from ganfast.metrics.images.stream import StreamImages, digest_of


def shared_out(source: ImageSource, name: str, batch_size: int, ranks: Ranks) -> list[str]:
    """Settle whether the source is the same in all processes, each of which then takes every
    ``ranks.count``-th batch, or gives each a share of its own, all of which is taken.

    All processes must call this. A stream is judged by its sampler, else by its first batch.

    Returns:
        a sentence for the report, of a stream.

    Raises:
        InputError: in all processes, where it is neither.
    """
    if not isinstance(source, StreamImages):
        own = source.fingerprint
        if isinstance(source, ArrayImages):  # of which that is no more than the shape
            with contextlib.closing(source.batches(batch_size)) as batches:
                own += digest_of(next(batches).images)
        if len(set(ranks.gather(own))) > 1:
            raise InputError(
                f"{name}: got other images in one process than in another; give all of them the "
                "same, which they share, or an iterable of its own to each"
            )
        return []
    begun = ranks.gather(source.begin(batch_size))
    known = [one.sharded_by for one in begun]
    kinds = len({one.digest for one in begun})
    if all(known) and begun[0].shares != ranks.count:
        source.sharded = True
        return [
            f"{name}: {known[0]} divides the images among {begun[0].shares} processes, and "
            f"{ranks.count} ran: the others' shares are not counted"
        ]
    if ranks.count == 1:
        return []
    if all(known):
        source.sharded = True
        return [f"{name}: each process has a share of its own, by {known[0]}, and takes all of it"]
    if any(known):
        raise InputError(
            f"{name}: got a loader with {next(filter(None, known))} in some processes only; give "
            "all of them one, or none"
        )
    if kinds == 1:
        return [f"{name}: all processes see the same images, and each takes its part of them"]
    if any(one.shuffled for one in begun):
        raise InputError(
            f"{name}: got a loader that shuffles in another order in each process; give "
            "shuffle=False, or a DistributedSampler"
        )
    if kinds == ranks.count:
        source.sharded = True
        return [
            f"{name}: each process sees images of its own, by their first batch, and takes all "
            "of them"
        ]
    raise InputError(
        f"{name}: got {kinds} different first batches in {ranks.count} processes; give all the "
        "same images, or each a share of its own"
    )


def check_counts(source: ImageSource, name: str, ranks: Ranks) -> None:
    """InputError, in all processes, if a stream that they share was not equally long in all."""
    if not isinstance(source, StreamImages):
        return
    totals = ranks.gather(source.total)
    if not source.sharded and len(set(totals)) > 1:
        raise InputError(
            f"{name}: got {', '.join(map(str, totals))} images by process, of what began alike; "
            "give all the same images, or each a share of its own"
        )
