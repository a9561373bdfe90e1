"""A random sample of rows that does not depend on the order in which they came."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.plain import plain
from ganfast.metrics.process_group import gather, total
from ganfast.metrics.summary.position_hash import position_hash

PURPOSE = 2
"""Of the hash; that of chunks is another, so that a sample has images of all chunks."""


class BottomSample:
    """Of all rows those ``size`` whose position has the smallest hash (a bottom-k sketch; Cohen and
    Kaplan, 2007): drawn without replacement, the same for any order and any division, and the
    samples of two parts give that of both.

    Rows are kept in float32 on the CPU, 4 size dim bytes: 82 MB for 10,000 rows of 2048.
    """

    def __init__(self, size: int, dim: int, seed: int) -> None:
        self.size, self.dim, self.seed = size, dim, seed
        self._rows = torch.empty(size, dim)  # pages that no row has reached cost no memory
        self._positions = np.zeros(size, dtype=np.int64)
        self._largest_first: list[tuple[int, int]] = []  # a heap of (-hash, index)

    def __len__(self) -> int:
        return len(self._largest_first)

    @plain
    def add(self, rows: Tensor, positions: np.ndarray) -> None:
        """Take in ``rows`` (n, dim) at ``positions`` (n,) int64, none of them seen before."""
        heap, taken = self._largest_first, {}
        for i, value in enumerate(self._hashes(positions).tolist()):
            if len(heap) < self.size:
                index = len(heap)
                heapq.heappush(heap, (-value, index))
            elif heap and value < -heap[0][0]:
                index = heap[0][1]
                heapq.heapreplace(heap, (-value, index))
            else:
                continue
            taken[index] = i  # the last one that took this place stays
        if taken:
            places, chosen = list(taken), list(taken.values())
            self._rows[places] = rows[chosen].to("cpu", torch.float32)
            self._positions[places] = positions[chosen]

    def rows(self) -> Tensor:
        """A copy, (m, dim) float32 with m <= size, by ascending hash: in random order."""
        return self._rows[torch.from_numpy(self._order())].clone()

    @plain
    def all_reduce(self, group: Any = None) -> None:
        """Hold the sample of what all processes in ``group`` have seen."""
        # First who has which positions, 8 bytes each; then the rows that remain, once.
        own = torch.full((self.size,), -1)
        own[: len(self)] = torch.from_numpy(self._positions[: len(self)])
        everyones = gather(own, group).flatten().numpy()
        everyones = everyones[everyones >= 0]
        different, seen = np.unique(everyones, return_counts=True)
        if len(different) < len(everyones):
            raise InputError(
                f"positions must be counted in one process each, got {different[seen > 1][0]} in "
                "several: give each process images of its own"
            )
        kept = everyones[np.argsort(self._hashes(everyones))][: self.size]
        _, place, index = np.intersect1d(
            kept, self._positions[: len(self)], assume_unique=True, return_indices=True
        )
        # A row has one owner, and the others add zeros: exact.
        rows = torch.zeros(len(kept), self.dim)
        rows[place] = self._rows[index]
        rows = total(rows, group)
        self._largest_first = []
        self.add(rows, kept)

    def state_dict(self) -> dict[str, Tensor]:
        order = self._order()
        return {"positions": torch.from_numpy(self._positions[order]), "rows": self.rows()}

    @plain
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._largest_first = []
        self.add(state["rows"], state["positions"].cpu().numpy())

    def _hashes(self, positions: np.ndarray) -> np.ndarray:
        return position_hash(positions, self.seed, PURPOSE)

    def _order(self) -> np.ndarray:
        return np.array([index for _, index in sorted(self._largest_first, reverse=True)], np.int64)
