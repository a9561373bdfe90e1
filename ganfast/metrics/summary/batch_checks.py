"""Checks of a batch before it is taken in, on the host; on a GPU late_checks.py waits for none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.summary.late_checks import not_finite
from ganfast.metrics.summary.score_tally import PROBABILITIES, are_probabilities


def positions_of(positions: Sequence[int]) -> np.ndarray:
    """(n,) int64, or InputError."""
    given = np.asarray(positions)
    if given.size == 0:
        return np.zeros(0, dtype=np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iu" or int(given.min()) < 0:
        raise InputError(
            f"positions: got {given.dtype} of shape {given.shape}; give a whole number of at least "
            "0 for each image"
        )
    return given.astype(np.int64)


def check_rows(name: str, x: Tensor, width: int, where: np.ndarray, *, late: bool) -> None:
    """InputError if ``x`` is not (n, width), floating and, but for ``late``, finite, for n images
    at the positions ``where``."""
    n = len(where)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise InputTypeError(f"{name}: got {kind}; give a floating tensor")
    if tuple(x.shape) != (n, width):
        raise InputError(
            f"{name}: got shape {tuple(x.shape)}; give ({n}, {width}), for {n} positions and "
            f"{width} as the Summary was made"
        )
    # One NaN or inf makes the sum one; only then is each looked at.
    if not late and not bool(torch.isfinite(x.sum(dtype=torch.float32))):
        bad = where[(~torch.isfinite(x)).any(1).cpu().numpy()]
        if len(bad):
            raise not_finite(name, bad, n)


def check_logits(logits: Tensor | None, classes: int, where: np.ndarray, *, late: bool) -> Tensor:
    """``logits``, if they are raw scores (n, classes) for the images at the positions ``where``."""
    if logits is None:
        raise InputError(
            f"logits: got None; give (n, {classes}), or make the Summary with classes=None if the "
            "extractor has none"
        )
    check_rows("logits", logits, classes, where, late=late)
    if not late and are_probabilities(logits):
        raise InputError(PROBABILITIES)
    return logits
