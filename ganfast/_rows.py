"""Samples as rows of memory: what the kernels of the penalty ask of a tensor's layout."""

from __future__ import annotations

import torch
from torch import Tensor


def are_rows(x: Tensor) -> bool:
    """Whether each sample x[i] is one run of memory, the next one behind it.

    So it is for contiguous and channels_last tensors and for any other order of the dimensions
    after the first.
    """
    if x.is_contiguous():
        return True
    samples = len(x)
    behind = samples < 2 or x.stride(0) * samples == x.numel()
    return behind and torch.ops.aten.is_non_overlapping_and_dense(x)


def like(x: Tensor, layout: Tensor) -> Tensor:
    """``x`` in the layout of ``layout``, which :func:`are_rows`: itself if it is laid out so."""
    x = x.resolve_neg()
    if x.stride() == layout.stride():
        return x
    return torch.empty_like(layout, dtype=x.dtype).copy_(x)
