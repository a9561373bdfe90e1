"""The losses' torch.autograd.Function, and the decision whether it is used at all.

What holds for each Function here, because the field breaks it again and again:

* It saves its INPUTS and recomputes in backward. An intermediate saved by forward makes a double
  backward silently wrong (pytorch #58509, #76185).
* grad_output is read on its device; nothing waits for the device.
* With create_graph=True, backward returns the reference's differentiable expression of the saved
  inputs, so every higher order is exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ganfast._dispatch import call, forced, must_trace, serve
from ganfast._philox import Key
from ganfast.games import LossSpec
from ganfast.reference import losses as reference

_HALF = (torch.float16, torch.bfloat16)


def adversarial_loss(
    op: str, logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None
) -> Tensor | tuple[Tensor, ...]:
    """The loss of ``spec`` on checked ``logits``, by the backend that serves function ``op``."""
    first = logits[0]
    dtype = first.dtype
    if dtype in _HALF and torch.is_autocast_enabled(first.device.type):
        dtype = torch.float32  # what torch's own losses return under autocast
    few = spec.mean_score and first.is_cpu and first.numel() <= reference.FEW
    if few and (is_compiling() or not forced()):
        return reference.mean_score(logits, spec, dtype)
    kernels = serve(op, logits)
    if kernels is not reference and torch.is_grad_enabled():
        for x in logits:
            if x.requires_grad:
                return _apply_adversarial_loss((op, kernels, spec, key, dtype), *logits)
    return call(op, kernels, "adversarial_loss", logits, spec, key, dtype)


class _AdversarialLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, arguments: tuple, *logits: Tensor) -> Any:
        ctx.arguments = op, kernels, *rest = arguments
        ctx.save_for_backward(*logits)
        return call(op, kernels, "adversarial_loss", logits, *rest)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        op, kernels, spec, key, _ = ctx.arguments
        if torch.is_grad_enabled() or must_trace(grad_outputs) is not None:
            kernels = reference
        needed = ctx.needs_input_grad[1:]
        arguments = grad_outputs, ctx.saved_tensors, spec, key, needed
        return None, *call(op, kernels, "adversarial_loss_gradient", *arguments)


# torch.autograd.Function.apply in Python looks for functorch's transforms, which serve() has done
# already, and then calls this: 2 us of the 25 us that an empty Function costs.
_apply_adversarial_loss = super(torch.autograd.Function, _AdversarialLoss).apply
