"""What tells one extractor from another: a hash of its name and its weights."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping

import torch
from torch import Tensor


def identity(name: str, state: Mapping[str, Tensor]) -> str:
    """sha256, in hex, of ``name`` and of every tensor's name, shape, dtype and values.

    Tensors go by their names' order, and values as little-endian rows whatever the memory format,
    device or file they come from: the same weights have the same identity everywhere.
    """
    digest = hashlib.sha256(name.encode())
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        dtype = str(value.dtype).removeprefix("torch.")
        digest.update(f"\n{key} {tuple(value.shape)} {dtype}\n".encode())
        raw = value.reshape(-1).view(torch.uint8).numpy()  # as bytes: NumPy knows no bfloat16
        if sys.byteorder == "big":
            raw = raw.reshape(-1, value.element_size())[:, ::-1]
        digest.update(raw.tobytes())
    return digest.hexdigest()
