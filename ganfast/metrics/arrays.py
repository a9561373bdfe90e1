"""Features and scores as a user has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError, InputTypeError


def as_rows(name: str, given: Any, *, least: int = 0) -> Tensor:
    """A torch tensor or NumPy array of finite floats (n, d), n at least ``least``, as a tensor."""
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        dtype = given.dtype if given.dtype.itemsize < 8 else np.dtype(np.float64)
        # Of a copy, since torch knows neither foreign byte orders nor negative strides.
        given = torch.from_numpy(np.array(given, dtype=dtype.newbyteorder("="), order="C"))
    if not isinstance(given, Tensor) or not given.is_floating_point():
        kind = getattr(given, "dtype", None) or type(given).__name__
        raise InputTypeError(f"{name}: got {kind}; give a torch tensor or NumPy array of floats")
    if given.dim() != 2 or not given.shape[1] or len(given) < least:
        more = f" with at least {least} rows" if least else ""
        raise InputError(f"{name}: got shape {tuple(given.shape)}; give (n, d){more}")
    if not bool(torch.isfinite(given).all()):
        raise InputError(f"{name}: got NaN or inf; leave these images out, or mend the network")
    return given


def alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both on one device and in one dtype, which holds each of their numbers."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    device = x.device if x.is_cuda else y.device
    return x.to(device, dtype), y.to(device, dtype)
