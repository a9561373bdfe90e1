"""The autograd.Functions of ganfast.linalg: the mechanism, while linalg holds the mathematics.

No backend is asked here (LAPACK and cuSOLVER come through torch), and each derivative is a formula
that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# vjp(grad, *inputs) -> one gradient per input. Under create_graph it runs with gradients enabled:
# it either answers with differentiable operations, or passes its answer through once_only.
Vjp = Callable[..., tuple[Tensor, ...]]


def closed_form(value: Callable[..., Tensor], vjp: Vjp, *inputs: Tensor) -> Tensor:
    """value(*inputs), whose derivative is ``vjp``."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return _apply_closed_form(value, vjp, *inputs)
    return value(*inputs)


def once_only(reason: str, gradient: Tensor, *inputs: Tensor) -> Tensor:
    """``gradient`` itself; to differentiate it again with respect to ``inputs`` raises ``reason``.

    A gradient that silently counted as constant would make a gradient penalty quietly wrong.
    """
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return _apply_once_only(reason, gradient, *inputs)
    return gradient


class _ClosedForm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Callable[..., Tensor], vjp: Vjp, *inputs: Tensor) -> Tensor:
        ctx.vjp = vjp
        ctx.save_for_backward(*inputs)
        return value(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.vjp(grad, *ctx.saved_tensors)


class _OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, reason: str, gradient: Tensor, *inputs: Tensor) -> Tensor:
        ctx.reason = reason
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(ctx.reason)


_apply_closed_form: Callable[..., Tensor] = _ClosedForm.apply
_apply_once_only: Callable[..., Tensor] = _OnceOnly.apply
