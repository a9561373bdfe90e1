"""A side that is given as the features of its images: as if a network had just seen these."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.statistics_files import feature_pieces
from ganfast.metrics.summary import Summary


class FeatureSet:
    """One of the two sides, where the file of its ``statistics`` holds the features of each
    image."""

    def __init__(self, name: str, statistics: Statistics, options: EvaluationOptions) -> None:
        assert statistics.features is not None
        self.statistics, self._open = statistics, statistics.features
        self.summary = Summary(
            statistics.dim,
            chunks=options.chunks_of(name),
            sample=options.sample_of(name),
            seed=options.seed,
        )
        start = 0
        for rows in feature_pieces(self._open()):
            self.summary.add(rows, None, range(start, start + len(rows)))
            start += len(rows)

    def rows(self) -> Tensor:
        """All of them, (n, d): of an .npy the file mapped into memory, else in memory."""
        rows = self._open()
        if isinstance(rows, np.memmap) and rows.dtype.isnative and rows.flags.c_contiguous:
            # Mapped anew, since torch wants what may be written to; what is written is lost.
            assert rows.filename is not None
            rows = np.memmap(rows.filename, rows.dtype, "c", rows.offset, rows.shape)
            return torch.from_numpy(rows)
        return torch.cat(list(feature_pieces(rows)))
