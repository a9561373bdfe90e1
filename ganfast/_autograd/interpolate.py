"""The interpolation's torch.autograd.Function. It is linear in the samples, so it saves none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast import reference
from ganfast._autograd.tracing import must_trace, serving
from ganfast._philox import Key, new_key


def interpolate(
    real: Tensor, fake: Tensor, generator: torch.Generator | None, group_size: int
) -> Tensor:
    """eps_i real_i + (1 - eps_i) fake_i of checked samples, by the backend that serves."""
    backend = serving("interpolate", (real, fake))
    differentiated = (real.requires_grad or fake.requires_grad) and torch.is_grad_enabled()
    key = new_key(real.device, generator)
    if differentiated and backend is not reference:
        return _apply_interpolate(backend, key, group_size, real, fake)
    return backend.interpolate(real, fake, key, group_size)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, backend: Any, key: Key, group_size: int, real: Tensor, fake: Tensor
    ) -> Tensor:
        ctx.call = backend, key, group_size
        return backend.interpolate(real, fake, key, group_size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        backend, key, group_size = ctx.call
        if torch.is_grad_enabled() or must_trace((grad,)) is not None:
            backend = reference
        needed = ctx.needs_input_grad[3:]
        return None, None, None, *backend.interpolate_gradient(grad, key, group_size, needed)


_apply_interpolate = super(torch.autograd.Function, _Interpolate).apply  # as in losses.py
