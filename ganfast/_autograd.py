"""Every torch.autograd.Function of ganfast, and the decision whether one is used at all.

What holds for each Function here, because the field breaks it again and again:

* It saves its INPUTS and recomputes in backward. An intermediate saved by forward makes a double
  backward silently wrong (pytorch #58509, #76185).
* grad_output is read on its device; nothing waits for the device.
* With create_graph=True, backward returns the reference's differentiable expression of the saved inputs,
  so every higher order is exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ganfast import _dispatch, reference
from ganfast._philox import Key
from ganfast.games import LossSpec

_HALF = (torch.float16, torch.bfloat16)
_PLAIN = (Tensor, torch.nn.Parameter)


def must_trace(tensors: tuple[Tensor, ...]) -> str | None:
    """Why these tensors need the reference's plain torch operations; None if a kernel may take them.

    torch.compile fuses the reference by itself; functorch transforms, forward-mode AD and tensor
    subclasses (FakeTensor, DTensor, ...) have no addresses that a kernel could read.
    """
    if torch.compiler.is_compiling():
        return "torch.compile is tracing"
    if torch._C._are_functorch_transforms_active():
        return "a torch.func transform is active"
    if forward_ad._current_level >= 0:
        return "forward-mode AD is active"
    for x in tensors:
        if type(x) not in _PLAIN:
            return f"{type(x).__name__} is a tensor subclass"
    return None


def adversarial_loss(
    op: str, logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None
) -> Tensor | tuple[Tensor, ...]:
    """The loss of ``spec`` on checked ``logits``, by the backend that serves public function ``op``."""
    first = logits[0]
    dtype = first.dtype
    if dtype in _HALF and torch.is_autocast_enabled(first.device.type):
        dtype = torch.float32  # what torch's own losses return under autocast
    why = must_trace(logits)
    if why is not None:
        if not torch.compiler.is_compiling() and _dispatch.forced() not in (None, "reference"):
            raise RuntimeError(
                f"backend {_dispatch.forced()!r} was forced but cannot serve {op}: {why}"
            )
        return reference.adversarial_loss(logits, spec, key, dtype)
    backend = _dispatch.pick(op, first)
    if backend is reference:
        return reference.adversarial_loss(logits, spec, key, dtype)
    if torch.is_grad_enabled() and any(x.requires_grad for x in logits):
        return _AdversarialLoss.apply((backend, spec, key, dtype), *logits)
    return backend.adversarial_loss(logits, spec, key, dtype)


class _AdversarialLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: tuple, *logits: Tensor) -> Any:
        backend, spec, key, dtype = ctx.call = call
        ctx.save_for_backward(*logits)
        return backend.adversarial_loss(logits, spec, key, dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        backend, spec, key, _ = ctx.call
        if torch.is_grad_enabled():
            backend = reference
        gradients = backend.adversarial_loss_gradient(
            grad_outputs, ctx.saved_tensors, spec, key, ctx.needs_input_grad[1:]
        )
        return None, *gradients
