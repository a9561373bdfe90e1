"""Feature matching's torch.autograd.Function; what holds for it is said in losses.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast._dispatch import call, must_trace, serve
from ganfast.reference import features as reference
from ganfast.reference.features import DistanceSpec

_OP = "feature_matching_loss"


def feature_distance(
    real: tuple[Tensor, ...], fake: tuple[Tensor, ...], spec: DistanceSpec
) -> Tensor:
    """The distance of ``spec`` between checked features, by the backend that serves."""
    real = tuple([x.detach() for x in real])
    kernels = serve(_OP, (*fake, *real))
    if kernels is not reference and torch.is_grad_enabled() and any(x.requires_grad for x in fake):
        return _apply_feature_distance((kernels, spec, real), *fake)
    value: Tensor = call(_OP, kernels, "feature_distance", real, fake, spec)
    return value


class _FeatureDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, arguments: tuple, *fake: Tensor) -> Tensor:
        kernels, spec, real = arguments
        ctx.arguments = kernels, spec
        ctx.save_for_backward(*fake, *real)
        value: Tensor = call(_OP, kernels, "feature_distance", real, fake, spec)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        kernels, spec = ctx.arguments
        count = len(spec.weights)
        fake, real = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if torch.is_grad_enabled() or must_trace((grad,)) is not None:
            kernels = reference
        arguments = grad, real, fake, spec, ctx.needs_input_grad[1:]
        return None, *call(_OP, kernels, "feature_distance_gradient", *arguments)


_apply_feature_distance = super(torch.autograd.Function, _FeatureDistance).apply  # as in losses.py
