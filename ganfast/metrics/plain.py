"""Arithmetic that leaves no trace in autograd."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])


def plain(function: F) -> F:
    """Computes on tensors of no graph that may be changed both in and out of inference mode."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return function(*args, **kwargs)

    return inner  # type: ignore[return-value]
