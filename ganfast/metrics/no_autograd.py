"""Arithmetic that leaves no trace in autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])


def no_autograd(function: F) -> F:
    """Decorates a function so that it computes on tensors of no graph that may be changed both in
    and out of inference mode."""
    decorated: F = torch.inference_mode(False)(torch.no_grad()(function))
    return decorated
