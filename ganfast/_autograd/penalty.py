"""The penalty's torch.autograd.Functions: its value, its gradient, and the derivative of that.

The norms that forward computed are handed on, because they are a pass over the gradient and only n
numbers. They serve the kernels alone: under create_graph each backward is made of a Function on the
saved INPUT, or of the reference's expression of it, so every order of derivative is exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast._dispatch import call, must_trace, refused, serve
from ganfast.errors import Refusal
from ganfast.reference import penalty as reference
from ganfast.reference.penalty import PenaltySpec

_OP = "penalty_from_gradient"


def penalty(x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """The penalty on the checked gradient ``x`` and its norms, by the backend that serves."""
    kernels = serve(_OP, (x,))
    if kernels is not reference and torch.is_grad_enabled() and x.requires_grad:
        return _apply_penalty(kernels, spec, x)
    return _value(kernels, x, spec)


def _value(kernels: Any, x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    try:  # call() without its frame
        value, norms = kernels.penalty(x, spec)
    except Refusal as refusal:
        value, norms = refused(_OP, refusal).penalty(x, spec)
    return value, norms


class _Penalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Any, spec: PenaltySpec, x: Tensor) -> tuple[Tensor, Tensor]:
        value, norms = _value(kernels, x, spec)
        ctx.arguments = kernels, spec
        ctx.save_for_backward(x, norms)
        ctx.mark_non_differentiable(norms)
        ctx.set_materialize_grads(False)
        return value, norms

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> Any:
        kernels, spec = ctx.arguments
        x, norms = ctx.saved_tensors
        if grad is None:
            return None, None, None
        if must_trace((grad, x)) is not None:
            return None, None, reference.penalty_gradient(grad, x, norms, spec)
        if not torch.is_grad_enabled():
            try:
                return None, None, kernels.penalty_gradient(grad, x, norms, spec)
            except Refusal as refusal:
                kernels = refused(_OP, refusal)
                return None, None, kernels.penalty_gradient(grad, x, norms, spec)
        return None, None, _apply_penalty_gradient(kernels, spec, grad, x, norms)


class _PenaltyGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Any, spec: PenaltySpec, grad: Tensor, x: Tensor, norms: Tensor
    ) -> Tensor:
        ctx.arguments = kernels, spec
        ctx.save_for_backward(grad, x, norms)
        return call(_OP, kernels, "penalty_gradient", grad, x, norms, spec)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        kernels, spec = ctx.arguments
        grad, x, norms = ctx.saved_tensors
        if torch.is_grad_enabled() or must_trace((v,)) is not None:
            kernels = reference
        derivatives = call(_OP, kernels, "penalty_second_order", v, grad, x, norms, spec)
        return None, None, *derivatives, None


_apply_penalty = super(torch.autograd.Function, _Penalty).apply  # as in losses.py
_apply_penalty_gradient = super(torch.autograd.Function, _PenaltyGradient).apply
