"""A number for each position that looks random and is the same everywhere.

What depends on chance alone (which chunk an image falls into, which images are kept as a sample)
must not depend on how images were divided into batches and processes, or on a run having been
interrupted. A function of the position and a seed does not; a random stream does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
