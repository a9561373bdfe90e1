"""The C++ kernels (csrc/cpu) on tensors: allocate the results, pass addresses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast._philox import Key
from ganfast.games import LossSpec

_CODE = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
_OPS = ("discriminator_loss", "generator_loss")

# Below this many elements a second thread costs more than it saves (torch's own grain size).
_GRAIN = 32768

# From this many elements a constant gradient is returned as an expanded scalar, as torch's own sum() does,
# instead of being written out.
_EXPAND = 4096

_LOSSES: dict[tuple[LossSpec, torch.dtype], _cpu.Loss] = {}


def why_not(op: str, device: str, dtype: torch.dtype) -> str | None:
    """Why these kernels cannot serve ``op``; None if they can."""
    if device != "cpu":
        return f"the C++ kernels work on CPU tensors, not on {device}"
    if op not in _OPS:
        return f"no C++ kernel for {op}"
    if dtype not in _CODE:
        return f"no C++ kernel for {dtype}"
    if not _cpu.isa():
        return "this processor lacks x86-64-v2"
    return None


def describe() -> str:
    return f"C++ kernels for {_cpu.isa()}"


def _loss(spec: LossSpec, dtype: torch.dtype) -> _cpu.Loss:
    loss = _LOSSES.get((spec, dtype))
    if loss is None:
        loss = _LOSSES[spec, dtype] = _cpu.Loss(
            spec.phi.id,
            _CODE[dtype],
            spec.reduction == "mean",
            spec.heads,
            list(spec.targets),
            spec.label_flip,
            spec.label_noise,
        )
    return loss


def _plain(x: Tensor) -> Tensor:
    """``x`` as its memory says: contiguous, without a pending negation."""
    return x if x.is_contiguous() and not x.is_neg() else x.resolve_neg().contiguous()


def _threads(counts: Sequence[int]) -> int:
    return torch.get_num_threads() if sum(counts) >= _GRAIN else 1


def _bits(key: Key | None) -> int:
    return 0 if key is None else int(key) & 0xFFFFFFFFFFFFFFFF


def adversarial_loss(
    logits: Sequence[Tensor], spec: LossSpec, key: Key | None, dtype: torch.dtype
) -> Tensor | tuple[Tensor, ...]:
    """As :func:`ganfast.reference.adversarial_loss`."""
    logits = [_plain(x) for x in logits]
    loss = _loss(spec, logits[0].dtype)
    addresses = tuple([x.data_ptr() for x in logits])
    counts = tuple([x.numel() for x in logits])
    if spec.reduction == "none":
        values = tuple([torch.empty_like(x, dtype=dtype) for x in logits])
        outs = tuple([value.data_ptr() for value in values])
        loss.values(addresses, counts, _bits(key), outs, _CODE[dtype], _threads(counts))
        return values
    value = torch.empty((), dtype=dtype)
    loss.reduced(addresses, counts, _bits(key), value.data_ptr(), _CODE[dtype], _threads(counts))
    return value


def adversarial_loss_gradient(
    grad_outputs: Sequence[Tensor],
    logits: Sequence[Tensor],
    spec: LossSpec,
    key: Key | None,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """As :func:`ganfast.reference.adversarial_loss_gradient`."""
    first = logits[0]
    loss = _loss(spec, first.dtype)
    counts = tuple([x.numel() for x in logits])
    logits = [_plain(x) for x in logits]
    gradients = tuple([torch.empty_like(x) if n else None for x, n in zip(logits, needed)])
    addresses = tuple([x.data_ptr() for x in logits])
    outs = tuple([0 if g is None else g.data_ptr() for g in gradients])
    grad = grad_outputs[0]
    if spec.reduction == "none":
        grad_outputs = [_plain(g) for g in grad_outputs]
        grads = tuple([g.data_ptr() for g in grad_outputs])
        loss.values_gradient(
            addresses, counts, _bits(key), grads, _CODE[grad.dtype], outs, _threads(counts)
        )
    else:
        loss.reduced_gradient(
            addresses, counts, _bits(key), grad.data_ptr(), _CODE[grad.dtype], outs, _threads(counts)
        )
    return gradients
