"""The autograd.Functions of ganfast.linalg: the mechanism, while linalg holds the mathematics.

No backend is asked here (LAPACK and cuSOLVER come through torch), and each derivative is a formula
that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from ganfast._dispatch import must_trace

# vjp(grad, *inputs) -> one gradient per input. Under create_graph it runs with gradients enabled:
# it either answers with differentiable operations, or passes its answer through once_only.
Vjp = Callable[..., tuple[Tensor, ...]]


# jvp(tangents, *inputs), in forward mode; a tangent may be None.
Jvp = Callable[..., Tensor]


def is_traced() -> bool:
    """Whether torch.func or torch.compile is at work: no value can be looked at then."""
    return must_trace(()) is not None


def closed_form(
    value: Callable[..., Tensor], vjp: Vjp, *inputs: Tensor, jvp: Jvp | None = None
) -> Tensor:
    """value(*inputs), whose derivative is ``vjp``, and in forward mode ``jvp``: it may be left out
    where the value is one number for each matrix."""
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    # Dynamo has no Function with a jvp: without gradients it needs none.
    if differentiated or (is_traced() and not is_dynamo_compiling()):
        return _apply_closed_form(value, vjp, jvp, *inputs)
    return value(*inputs)


def once_only(reason: str, gradient: Tensor, *inputs: Tensor) -> Tensor:
    """``gradient`` itself; to differentiate it again with respect to ``inputs`` raises ``reason``.

    A gradient that silently counted as constant would make a gradient penalty quietly wrong. Where
    torch traces nothing can raise: the derivative is NaN.
    """
    if is_traced():
        return _apply_nan_derivative(gradient, *inputs)
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return _apply_once_only(reason, gradient, *inputs)
    return gradient


class _ClosedForm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Callable[..., Tensor], vjp: Vjp, jvp: Jvp | None, *inputs: Tensor) -> Tensor:
        return value(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.of_backward, ctx.of_forward, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        vjp = ctx.of_backward  # Dynamo calls no attribute of ctx
        return None, None, None, *vjp(grad, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        given, inputs = tangents[3:], ctx.saved_tensors
        jvp, vjp = ctx.of_forward, ctx.of_backward
        if jvp is not None:
            return jvp(given, *inputs)
        gradients = vjp(torch.ones_like(inputs[0][:, 0, 0]), *inputs)
        pairs = zip(gradients, given, strict=True)
        terms = [(gradient * t).sum((-2, -1)) for gradient, t in pairs if t is not None]
        return sum(terms[1:], terms[0])


class _OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, reason: str, gradient: Tensor, *inputs: Tensor) -> Tensor:
        ctx.reason = reason
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(ctx.reason)


class _NanDerivative(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, *inputs: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        wanted = (grad != 0).any(-1, keepdim=True).any(-2, keepdim=True)
        unknown = torch.where(wanted, torch.nan, 0.0).to(grad.dtype)
        return None, *(unknown.expand_as(x) for x in ctx.saved_tensors)


_apply_nan_derivative: Callable[..., Tensor] = _NanDerivative.apply
_apply_closed_form: Callable[..., Tensor] = _ClosedForm.apply
_apply_once_only: Callable[..., Tensor] = _OnceOnly.apply
