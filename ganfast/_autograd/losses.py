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

from ganfast._dispatch import forced, must_trace, refused, serve
from ganfast._philox import Key
from ganfast.errors import Refusal
from ganfast.games import LossSpec
from ganfast.reference import losses as reference

_HALF = (torch.float16, torch.bfloat16)


def adversarial_loss(
    op: str, logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None
) -> Tensor | tuple[Tensor, ...]:
    """The loss of ``spec`` on checked ``logits``, by the backend that serves function ``op``."""
    first = logits[0]
    dtype = first.dtype
    if dtype in _HALF:
        dtype = _result_dtype(first)
    few = spec.mean_score and first.is_cpu and first.numel() <= reference.FEW
    if few and (is_compiling() or not forced()):
        return reference.mean_score(logits, spec, dtype)
    return _served((op, serve(op, logits), spec, key, dtype, None), logits)


def loss_and_statistics(
    op: str, logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None
) -> tuple[Tensor, Tensor]:
    """The loss, and the statistics of the reference's loss_statistics(), which the kernel of the
    loss forms beside it."""
    kernels, dtype = serve(op, logits), _result_dtype(logits[0])
    if kernels is reference:  # a functorch transform cannot write into what it does not map
        statistics = reference.loss_statistics(logits, spec)
        return reference.adversarial_loss(logits, spec, key, dtype), statistics  # type: ignore
    statistics = logits[0].new_empty(5, dtype=reference.accumulation_dtype(logits[0].dtype))
    return _served((op, kernels, spec, key, dtype, statistics), logits), statistics


def means_compared(op: str, logits: tuple[Tensor, ...], spec: LossSpec, detach_means: bool) -> Any:
    """The loss of the first half of ``logits`` against the means of the other half, and the other
    way round: (loss, None) or, with ``spec.statistics``, (loss, statistics)."""
    statistics = reference.loss_statistics(logits, spec) if spec.statistics else None
    dtype = _result_dtype(logits[0])
    centred = reference.minus_means(logits, spec.heads, detach_means)
    loss = adversarial_loss(op, centred, spec, None)
    return (tuple(x.to(dtype) for x in loss) if isinstance(loss, tuple) else loss.to(dtype)), (
        statistics
    )


def _result_dtype(x: Tensor) -> torch.dtype:
    """float32 for half precision under autocast, as torch's own losses have it."""
    half = x.dtype in _HALF and torch.is_autocast_enabled(x.device.type)
    return torch.float32 if half else x.dtype


def _served(arguments: tuple[Any, ...], logits: tuple[Tensor, ...]) -> Any:
    if arguments[1] is not reference and torch.is_grad_enabled():
        for x in logits:
            if x.requires_grad:
                return _apply_adversarial_loss(arguments, *logits)
    return _value(arguments, logits)


def _value(arguments: tuple[Any, ...], logits: tuple[Tensor, ...]) -> Any:
    op, kernels, spec, key, dtype, statistics = arguments
    try:  # call() without its frame
        return kernels.adversarial_loss(logits, spec, key, dtype, statistics)
    except Refusal as refusal:
        return refused(op, refusal).adversarial_loss(logits, spec, key, dtype, statistics)


class _AdversarialLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, arguments: tuple[Any, ...], *logits: Tensor) -> Any:
        ctx.arguments = arguments
        ctx.save_for_backward(*logits)
        return _value(arguments, logits)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        op, kernels, spec, key, _, _ = ctx.arguments
        if torch.is_grad_enabled() or must_trace(grad_outputs) is not None:
            kernels = reference
        arguments = grad_outputs, ctx.saved_tensors, spec, key, ctx.needs_input_grad[1:]
        try:
            return None, *kernels.adversarial_loss_gradient(*arguments)
        except Refusal as refusal:
            return None, *refused(op, refusal).adversarial_loss_gradient(*arguments)


# torch.autograd.Function.apply in Python looks for functorch's transforms, which serve() has done
# already, and then calls this: 2 us of the 25 us that an empty Function costs.
_apply_adversarial_loss = super(torch.autograd.Function, _AdversarialLoss).apply
