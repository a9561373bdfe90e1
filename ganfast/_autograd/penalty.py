"""The penalty's torch.autograd.Functions: its value, its gradient, and the derivative of that.

The norms that forward computed are handed on, because they are a pass over the gradient and only n
numbers. They serve the kernels alone: under create_graph each backward is made of a Function on the
saved INPUT, or of the reference's expression of it, so every order of derivative is exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast import reference
from ganfast._autograd.tracing import must_trace, serving
from ganfast.reference import PenaltySpec


def penalty(x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """The penalty on the checked gradient ``x`` and its norms, by the backend that serves."""
    backend = serving("penalty_from_gradient", (x,))
    if backend is not reference and torch.is_grad_enabled() and x.requires_grad:
        return _apply_penalty(backend, spec, x)
    return backend.penalty(x, spec)


class _Penalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, backend: Any, spec: PenaltySpec, x: Tensor) -> tuple[Tensor, Tensor]:
        value, norms = backend.penalty(x, spec)
        ctx.call = backend, spec
        ctx.save_for_backward(x, norms)
        ctx.mark_non_differentiable(norms)
        ctx.set_materialize_grads(False)
        return value, norms

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> Any:
        backend, spec = ctx.call
        x, norms = ctx.saved_tensors
        if grad is None:
            return None, None, None
        if not torch.is_grad_enabled():
            return None, None, backend.penalty_gradient(grad, x, norms, spec)
        if must_trace((grad, x)) is not None:
            return None, None, reference.penalty_gradient(grad, x, norms, spec)
        return None, None, _apply_penalty_gradient(backend, spec, grad, x, norms)


class _PenaltyGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, backend: Any, spec: PenaltySpec, grad: Tensor, x: Tensor, norms: Tensor
    ) -> Tensor:
        ctx.call = backend, spec
        ctx.save_for_backward(grad, x, norms)
        return backend.penalty_gradient(grad, x, norms, spec)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        backend, spec = ctx.call
        grad, x, norms = ctx.saved_tensors
        if torch.is_grad_enabled() or must_trace((v,)) is not None:
            backend = reference
        return None, None, *backend.penalty_second_order(v, grad, x, norms, spec), None


_apply_penalty = super(torch.autograd.Function, _Penalty).apply  # as in losses.py
_apply_penalty_gradient = super(torch.autograd.Function, _PenaltyGradient).apply
