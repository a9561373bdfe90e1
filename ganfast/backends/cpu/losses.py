"""The losses: allocate the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast._philox import Key
from ganfast.backends.cpu.layout import DTYPES, any_layout
from ganfast.games import LossSpec

_value, _gradient = any_layout(_cpu.loss_value, outputs=2), any_layout(_cpu.loss_gradient)

# torch.empty_like beats torch.empty. The device is named, since the default one may be another.
_SCALAR = {dtype: torch.empty((), dtype=dtype, device="cpu") for dtype in DTYPES}


def _loss(spec: LossSpec) -> Any:
    """``spec`` as the kernels have it."""
    loss = spec.memo.get("cpu")
    if loss is None:
        loss = spec.memo["cpu"] = _cpu.loss(
            spec.phi.id,
            spec.reduction,
            spec.heads,
            spec.targets,
            spec.label_flip,
            spec.label_noise,
            spec.paired,
        )
    return loss


def _contiguous(logits: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Asked beforehand, since to be refused takes longer than the loss of a few logits."""
    for x in logits:
        if not x.is_contiguous():
            return tuple([x.contiguous() for x in logits])
    return logits


def adversarial_loss(
    logits: tuple[Tensor, ...],
    spec: LossSpec,
    key: Key | None,
    dtype: torch.dtype,
    statistics: Tensor | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """As in the reference."""
    logits = _contiguous(logits)
    if spec.reduction == "none":
        values = tuple([torch.empty_like(x, dtype=dtype) for x in logits[: len(spec.targets)]])
        _value(_loss(spec), key, logits, values, None)
        return values
    value = torch.empty_like(_SCALAR[dtype])
    _value(_loss(spec), key, logits, (value,), statistics)
    return value


def adversarial_loss_gradient(
    grad_outputs: tuple[Tensor, ...],
    logits: tuple[Tensor, ...],
    spec: LossSpec,
    key: Key | None,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """As in the reference."""
    logits = _contiguous(logits)
    gradients: tuple[Tensor | None, ...]
    if False in needed:
        gradients = tuple(
            [torch.empty_like(x) if need else None for x, need in zip(logits, needed, strict=True)]
        )
    else:
        gradients = tuple(map(torch.empty_like, logits))
    _gradient(_loss(spec), key, logits, grad_outputs, gradients)
    return gradients
