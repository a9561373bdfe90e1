"""How much may be decoded before it is asked for."""

from __future__ import annotations

from ganfast.metrics.images.decode import Decoder
from ganfast.metrics.images.encoded import EncodedFiles

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
    batch = max(1.0, first * mean / max(files.sizes[0], 1) * batch_size)
    if batch * workers * AHEAD <= BUDGET:
        return workers, AHEAD
    return max(1, min(workers, int(BUDGET / batch))), 1
