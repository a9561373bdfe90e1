"""What the kernels take, and how everything else comes to be that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganfast._rows import are_rows, like
from ganfast.errors import Refusal

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def any_layout(
    kernel: Callable[..., Any],
    inputs: tuple[Any, ...],
    outputs: tuple[Any, ...],
    rows: Tensor | None = None,
) -> Any:
    """kernel(*inputs, *outputs); on contiguous copies if it refuses the tensors as they are.

    Arguments may be tensors, tuples of tensors, and anything else. With ``rows`` tensors of its
    shape are copied into its layout instead, if its samples are rows in memory.
    """
    try:
        return kernel(*inputs, *outputs)
    except Refusal:
        pass
    if rows is not None and not are_rows(rows):
        rows = None

    def copied(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(map(copied, x))
        if not isinstance(x, Tensor):
            return x
        if rows is not None and x.shape == rows.shape:
            return like(x, rows)
        return x.resolve_neg().contiguous()

    results = copied(outputs)
    done = kernel(*copied(inputs), *results)
    _copy_back(results, outputs)
    return done


def _copy_back(results: Any, outputs: Any) -> None:
    for result, out in zip(results, outputs, strict=True):
        if isinstance(out, tuple):
            _copy_back(result, out)
        elif result is not out:
            out.copy_(result)
