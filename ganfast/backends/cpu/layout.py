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
    kernel: Callable[..., Any], *, outputs: int = 1, rows: int | None = None
) -> Callable[..., Any]:
    """``kernel`` for tensors in any layout: what it refuses as it is, it is given as a copy.

    Its arguments are tensors, tuples of tensors and anything else; the last ``outputs`` of them are
    written. Copies are contiguous. Those in the shape of argument number ``rows`` are in the layout
    of that one instead, if its samples are rows in memory.
    """

    def call(*arguments: Any) -> Any:
        try:
            return kernel(*arguments)
        except Refusal:
            pass
        layout = arguments[rows] if rows is not None and are_rows(arguments[rows]) else None
        copies = _copied(arguments, layout)
        done = kernel(*copies)
        _copy_back(copies[-outputs:], arguments[-outputs:])
        return done

    return call


def _copied(x: Any, layout: Tensor | None) -> Any:
    if isinstance(x, tuple):
        return tuple([_copied(y, layout) for y in x])
    if not isinstance(x, Tensor):
        return x
    if layout is not None and x.shape == layout.shape:
        return like(x, layout)
    return x.resolve_neg().contiguous()


def _copy_back(results: Any, outputs: Any) -> None:
    for result, out in zip(results, outputs, strict=True):
        if isinstance(out, tuple):
            _copy_back(result, out)
        elif result is not out:
            out.copy_(result)
