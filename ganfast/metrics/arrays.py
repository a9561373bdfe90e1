"""Features and scores as a user has them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError, InputTypeError

PIECE = 4096
"""Rows that are looked at together: 32 MB in float32 at 2,048 features."""


def as_rows(name: str, given: Any, *, least: int = 0) -> Tensor:
    """A torch tensor or NumPy array of finite floats (n, d), n at least ``least``, as a tensor. It
    is not to be written to: where torch can, it shares the memory of an array, or its file."""
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        given = _shared(given)
    if not isinstance(given, Tensor) or not given.is_floating_point():
        kind = getattr(given, "dtype", None) or type(given).__name__
        raise InputTypeError(f"{name}: got {kind}; give a torch tensor or NumPy array of floats")
    if given.dim() != 2 or not given.shape[1] or len(given) < least:
        more = f" with at least {least} rows" if least else ""
        raise InputError(f"{name}: got shape {tuple(given.shape)}; give (n, d){more}")
    if not all(bool(torch.isfinite(part).all()) for part in given.split(PIECE)):
        raise InputError(f"{name}: got NaN or inf; leave these images out, or mend the network")
    return given


def _shared(array: np.ndarray) -> Tensor:
    dtype = array.dtype if array.dtype.itemsize < 8 else np.dtype(np.float64)
    if array.dtype != dtype.newbyteorder("=") or any(step < 0 for step in array.strides):
        # torch knows neither foreign byte orders nor negative strides.
        array = np.array(array, dtype=dtype.newbyteorder("="), order="C")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both on one device and in one dtype, which holds each of their numbers."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    device = x.device if x.is_cuda else y.device
    return x.to(device, dtype), y.to(device, dtype)
