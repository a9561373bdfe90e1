"""Features as a user has them, piece by piece as torch tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError, InputTypeError

PIECE = 1024
"""Rows in a piece, so that no temporary is as large as the features."""

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8)
NUMPY_DTYPES = tuple(np.dtype(name) for name in ("float64", "float32", "float16", "uint8"))


class FeatureRows:
    """Rows (n, dim) of a tensor or a NumPy array, never modified.

    Raises InputError for any other type, shape, dtype or layout; check_finite() for NaN or inf.
    """

    def __init__(self, features: Any, dim: int) -> None:
        if not isinstance(features, (Tensor, np.ndarray)):
            raise InputTypeError(
                f"features: got a {type(features).__name__}; give a torch tensor or a NumPy array"
            )
        shape = tuple(features.shape)
        if len(shape) != 2 or shape[1] != dim:
            raise InputError(
                f"features: got shape {shape}; give (n, {dim}), one row for each sample, as wide "
                "as dim"
            )
        wanted: tuple[Any, ...] = DTYPES
        dtype: Any = features.dtype
        if isinstance(features, np.ndarray):
            wanted, dtype = NUMPY_DTYPES, features.dtype.newbyteorder("=")
        elif features.layout is not torch.strided:
            raise InputError(f"features: got {features.layout}; give a dense tensor, by to_dense()")
        if dtype not in wanted:
            raise InputTypeError(
                f"features: got {features.dtype}; give float64, float32, float16, bfloat16 or uint8"
            )
        self._features = features.detach() if isinstance(features, Tensor) else features

    def __len__(self) -> int:
        return len(self._features)

    @property
    def device(self) -> torch.device:
        """Where to sum them up: where they are, if float64 exists there."""
        features = self._features
        if isinstance(features, Tensor) and features.device.type != "mps":
            return features.device
        return torch.device("cpu")

    def pieces(self) -> Iterator[Tensor]:
        """The rows in order, at most PIECE at a time."""
        for start in range(0, len(self), PIECE):
            rows = self._features[start : start + PIECE]
            if isinstance(rows, Tensor):
                yield rows
                continue
            backwards = any(step < 0 for step in rows.strides)
            if backwards or not rows.flags.writeable or not rows.dtype.isnative:
                # torch takes none of these as they are.
                rows = rows.astype(rows.dtype.newbyteorder("="), order="C")
            yield torch.from_numpy(rows)

    def check_finite(self) -> None:
        """Raise InputError if there is a NaN or inf."""
        if self._features.dtype in (torch.uint8, np.uint8):
            return
        bad = 0
        for rows in self.pieces():
            # One NaN or inf makes the sum one, and a sum is far cheaper than isfinite, which
            # writes a byte for each element. Only if the sum overflows must each be looked at.
            if not math.isfinite(_total(rows)):
                bad += int((~torch.isfinite(rows)).any(1).sum())
        if bad:
            raise InputError(
                f"features: got NaN or inf in {bad} of {len(self)} rows; drop these rows, or mend "
                "the network that made them"
            )


def _total(rows: Tensor) -> float:
    if rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.float64):
        # In one thread: to wake torch's would cost more than they save on a batch.
        with np.errstate(all="ignore"):
            return float(rows.numpy().sum())
    wide = rows.dtype if rows.dtype.itemsize > 2 else torch.float32
    return float(rows.sum(dtype=wide))
