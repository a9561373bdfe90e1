"""The interpolation's torch.autograd.Function. It is linear in the samples, so it saves none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast._dispatch import call, must_trace, refused, serve
from ganfast._philox import Key
from ganfast.errors import Refusal
from ganfast.reference import penalty as reference

_OP = "interpolate"


def interpolate(real: Tensor, fake: Tensor, key: Key, group_size: int) -> Tensor:
    """eps_i real_i + (1 - eps_i) fake_i of checked samples, by the backend that serves."""
    kernels = serve(_OP, (real, fake))
    differentiated = (real.requires_grad or fake.requires_grad) and torch.is_grad_enabled()
    if differentiated and kernels is not reference:
        return _apply_interpolate(kernels, key, group_size, real, fake)
    return _points(kernels, real, fake, key, group_size)


def _points(kernels: Any, real: Tensor, fake: Tensor, key: Key, group_size: int) -> Tensor:
    try:  # call() without its frame
        points: Tensor = kernels.interpolate(real, fake, key, group_size)
    except Refusal as refusal:
        points = refused(_OP, refusal).interpolate(real, fake, key, group_size)
    return points


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Any, key: Key, group_size: int, real: Tensor, fake: Tensor
    ) -> Tensor:
        ctx.arguments = kernels, key, group_size
        return _points(kernels, real, fake, key, group_size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        kernels, key, group_size = ctx.arguments
        if torch.is_grad_enabled() or must_trace((grad,)) is not None:
            kernels = reference
        needed = ctx.needs_input_grad[3:]
        gradients = call(_OP, kernels, "interpolate_gradient", grad, key, group_size, needed)
        return None, None, None, *gradients


_apply_interpolate = super(torch.autograd.Function, _Interpolate).apply  # as in losses.py
