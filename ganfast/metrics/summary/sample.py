"""A random sample of rows that does not depend on the order in which they came."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.distributed import gather, total
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.summary.late_checks import without_waiting

PURPOSE = 2
"""Of the hash; that of chunks is another, so that a sample has images of all chunks."""


class BottomSample:
    """Of all rows those ``size`` whose position has the smallest hash (a bottom-k sketch; Cohen and
    Kaplan, 2007): drawn without replacement, the same for any order and any division, and the
    samples of two parts give that of both.

    Rows are kept in float32 where they come from, 4 size dim bytes: 82 MB for 10,000 rows of 2048.
    """

    @no_autograd
    def __init__(self, size: int, dim: int, seed: int) -> None:
        self.size, self.dim, self.seed = size, dim, seed
        self._rows = torch.empty(size, dim)  # pages that no row has reached cost no memory
        self._positions = np.zeros(size, dtype=np.int64)
        self._largest_first: list[tuple[int, int]] = []  # a heap of (-hash, index)

    def __len__(self) -> int:
        return len(self._largest_first)

    @no_autograd
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
            if self._rows.device != rows.device:
                self._rows = self._rows.to(rows.device)
            to, of = (without_waiting(torch.tensor(x), rows.device) for x in (places, chosen))
            self._rows[to] = rows[of].to(torch.float32)
            self._positions[places] = positions[chosen]

    def rows(self) -> Tensor:
        """A copy on the CPU, (m, dim) float32 with m <= size, by ascending hash: in random
        order."""
        return self._rows.cpu()[torch.from_numpy(self._order())]

    def positions(self) -> np.ndarray:
        """(m,) int64: of each of rows()."""
        return self._positions[self._order()]

    @no_autograd
    def all_reduce(self, group: Any = None) -> None:
        """Hold the sample of what all processes in ``group`` have seen."""
        if not self.size:
            return
        # First who has which positions, 8 bytes each; then the rows that remain, once.
        own = torch.full((self.size,), -1)
        own[: len(self)] = torch.from_numpy(self._positions[: len(self)])
        everyones = gather(own, group).flatten().numpy()
        everyones = everyones[everyones >= 0]
        different, seen = np.unique(everyones, return_counts=True)
        if len(different) < len(everyones):
            raise InputError(
                f"positions: got {different[seen > 1][0]} in several processes; give each process "
                "images of its own"
            )
        kept = everyones[np.argsort(self._hashes(everyones))][: self.size]
        _, place, index = np.intersect1d(
            kept, self._positions[: len(self)], assume_unique=True, return_indices=True
        )
        # A row has one owner, and the others add zeros: exact.
        rows = torch.zeros(len(kept), self.dim)
        rows[place] = self._rows.cpu()[index]
        rows = total(rows, group)
        self._largest_first = []
        self.add(rows, kept)

    def state_dict(self) -> dict[str, Tensor]:
        order = self._order()
        return {"positions": torch.from_numpy(self._positions[order]), "rows": self.rows()}

    @no_autograd
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._largest_first = []
        self.add(state["rows"], state["positions"].cpu().numpy())

    def _hashes(self, positions: np.ndarray) -> np.ndarray:
        return position_hash(positions, self.seed, PURPOSE)

    def _order(self) -> np.ndarray:
        return np.array([index for _, index in sorted(self._largest_first, reverse=True)], np.int64)


_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1

Hashes = npt.NDArray[np.uint64]


def position_hash(positions: npt.NDArray[np.int64], seed: int, purpose: int) -> Hashes:
    """The numbers number ``positions`` of SplitMix64 (Steele, Lea and Flood, 2014), whose start
    follows from ``seed`` and ``purpose``: streams of different purpose are independent.

    SplitMix64's output is a bijection of its state, so different positions get different hashes.
    """
    start = _mix(np.array([(seed * _GOLDEN + purpose) & _MASK], dtype=np.uint64))
    steps = (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    return _mix(start + steps)


def _mix(z: Hashes) -> Hashes:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
