"""Whether the two sides of a comparison have images in common."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganfast._remote import shown
from ganfast.errors import InputError
from ganfast.metrics.images import ImageSource
from ganfast.metrics.statistics import Statistics

EFFORT = 10_000
"""Steps in which NumPy finds out about slices; for stranger views it may take exponentially many.
"""


def same_images(given: Mapping[str, Any], opened: Mapping[str, ImageSource | Statistics]) -> bool:
    """Whether the two sides are the same images; InputError if only some of them are on both."""
    if len(given) != 2:
        return False
    real, fake = given.values()
    if isinstance(real, (str, Path)) and isinstance(fake, (str, Path)):
        if os.path.realpath(real) == os.path.realpath(fake):
            return True
    elif isinstance(real, (Tensor, np.ndarray)) and isinstance(fake, (Tensor, np.ndarray)):
        return _same_memory(real, fake)
    elif real is fake and isinstance(real, Statistics):
        return True
    return _same_files(*opened.values())


def _same_memory(real: Tensor | np.ndarray, fake: Tensor | np.ndarray) -> bool:
    if real is fake:
        return True
    if any(isinstance(x, Tensor) and x.device.type != "cpu" for x in (real, fake)):
        return False
    a, b = (x.detach().numpy() if isinstance(x, Tensor) else x for x in (real, fake))
    try:
        shared = np.shares_memory(a, b, max_work=EFFORT)  # type: ignore[arg-type]
    except RuntimeError:  # such views nobody makes by hand
        return False
    where = [(x.__array_interface__["data"], x.shape, x.strides) for x in (a, b)]
    if shared and where[0] != where[1]:
        raise InputError(
            "real, fake: got two views of one array that share images; give each side its own"
        )
    return shared


def _same_files(real: ImageSource | Statistics, fake: ImageSource | Statistics) -> bool:
    if isinstance(real, Statistics) or isinstance(fake, Statistics):
        return False
    ours, theirs = set(real.places()), set(fake.places())
    shared = ours & theirs
    if shared and ours != theirs:
        raise InputError(
            f"real, fake: got {len(shared):,} files that are on both sides, such as "
            f"{shown(min(shared))!r} ({len(ours):,} real and {len(theirs):,} fake in all); give "
            "each side a folder of its own"
        )
    return bool(shared)
