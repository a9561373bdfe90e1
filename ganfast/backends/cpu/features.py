"""Feature matching: bring each pair into one layout, allocate the results."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast.errors import Refusal
from ganfast.reference.features import DistanceSpec, result_dtype

Features = tuple[Tensor, ...]


def _alike(real: Features, fake: Features) -> tuple[Features, Features]:
    """Copies of the pairs whose two tensors are not dense in the same order; the others as they
    are. Asked only once the kernel has refused."""
    pairs = []
    for r, f in zip(real, fake, strict=True):
        dense = f.is_contiguous() or f.is_contiguous(memory_format=_last(f))
        if not (dense and r.stride() == f.stride() and not (r.is_neg() or f.is_neg())):
            r, f = r.resolve_neg().contiguous(), f.resolve_neg().contiguous()
        pairs.append((r, f))
    return tuple(r for r, _ in pairs), tuple(f for _, f in pairs)


def _last(x: Tensor) -> torch.memory_format:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return formats.get(x.dim(), torch.contiguous_format)


def feature_distance(real: Features, fake: Features, spec: DistanceSpec) -> Tensor:
    """As in the reference."""
    value = torch.empty((), dtype=result_dtype(fake), device="cpu")
    try:
        _cpu.distance_value(spec.square, spec.weights, real, fake, value)
    except Refusal:
        _cpu.distance_value(spec.square, spec.weights, *_alike(real, fake), value)
    return value


def feature_distance_gradient(
    grad: Tensor, real: Features, fake: Features, spec: DistanceSpec, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """As in the reference."""
    try:
        return _gradient(grad, real, fake, spec, needed)
    except Refusal:
        return _gradient(grad.resolve_neg(), *_alike(real, fake), spec, needed)


def _gradient(
    grad: Tensor, real: Features, fake: Features, spec: DistanceSpec, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    gradients = tuple(
        [torch.empty_like(f) if need else None for f, need in zip(fake, needed, strict=True)]
    )
    _cpu.distance_gradient(spec.square, spec.weights, real, fake, grad, gradients)
    return gradients
