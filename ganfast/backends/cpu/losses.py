"""The losses: allocate the results, make contiguous what is not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast._philox import Key
from ganfast.backends.cpu.dtypes import CODE
from ganfast.games import LossSpec

# torch.empty_like beats torch.empty. The device is named, since the default one may be another.
_SCALAR = {dtype: torch.empty((), dtype=dtype, device="cpu") for dtype in CODE}


def _handle(spec: LossSpec, dtype: torch.dtype) -> int:
    """The address of the C++ twin of ``spec`` for logits of ``dtype``."""
    found = spec.memo.get(dtype)
    if found is None:
        loss = _cpu.Loss(
            spec.phi.id,
            CODE[dtype],
            spec.reduction == "mean",
            spec.heads,
            list(spec.targets),
            spec.label_flip,
            spec.label_noise,
        )
        found = spec.memo[dtype] = (loss.handle, loss)  # the spec keeps the twin alive
    return found[0]


def _plain(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors as contiguous memory, without a pending negation."""
    return tuple([x.resolve_neg().contiguous() for x in tensors])


def _bits(key: Key | None) -> int:
    return 0 if key is None else int(key) & 0xFFFFFFFFFFFFFFFF


def adversarial_loss(
    logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None, dtype: torch.dtype
) -> Tensor | tuple[Tensor, ...]:
    """As in the reference."""
    common = _handle(spec, logits[0].dtype), _bits(key), CODE[dtype], torch.get_num_threads()
    if spec.reduction == "none":
        values = tuple([torch.empty_like(x, dtype=dtype) for x in logits])
        if _cpu.values(*common, logits, values):
            return values
    else:
        value = torch.empty_like(_SCALAR[dtype])
        if _cpu.reduced(*common, logits, value):
            return value
    return adversarial_loss(_plain(logits), spec, key, dtype)


def adversarial_loss_gradient(
    grad_outputs: tuple[Tensor, ...],
    logits: tuple[Tensor, ...],
    spec: LossSpec,
    key: Key | None,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """As in the reference."""
    code = CODE[grad_outputs[0].dtype]
    common = _handle(spec, logits[0].dtype), _bits(key), code, torch.get_num_threads()
    gradients: tuple[Tensor | None, ...]
    if False in needed:
        gradients = tuple(
            [torch.empty_like(x) if need else None for x, need in zip(logits, needed, strict=True)]
        )
    else:
        gradients = tuple(map(torch.empty_like, logits))
    if spec.reduction == "none":
        if _cpu.values_gradient(*common, logits, gradients, grad_outputs):
            return gradients
    elif _cpu.reduced_gradient(*common, logits, gradients, grad_outputs[0]):
        return gradients
    return adversarial_loss_gradient(_plain(grad_outputs), _plain(logits), spec, key, needed)
