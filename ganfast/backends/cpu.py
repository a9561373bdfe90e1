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

# Below this many elements a second thread costs more than it saves.
_GRAIN = 65536

_SCALAR = {dtype: torch.empty((), dtype=dtype) for dtype in _CODE}  # empty_like beats empty


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


def _handle(spec: LossSpec, dtype: torch.dtype) -> int:
    """The address of the C++ twin of ``spec`` for logits of ``dtype``."""
    found = spec.memo.get(dtype)
    if found is None:
        loss = _cpu.Loss(
            spec.phi.id,
            _CODE[dtype],
            spec.reduction == "mean",
            spec.heads,
            list(spec.targets),
            spec.label_flip,
            spec.label_noise,
        )
        found = spec.memo[dtype] = (loss.handle, loss)  # the spec keeps the twin alive
    return found[0]


def _plain(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The tensors as their memory says: contiguous, without a pending negation."""
    for x in tensors:
        # A view with a pending negation is the imaginary part of something, so it is contiguous
        # only if it has one element; asking every tensor is_neg() would cost as much as the kernel
        # on 64 logits.
        if not x.is_contiguous() or (x.numel() == 1 and x.is_neg()):
            return [x.resolve_neg().contiguous() for x in tensors]
    return tensors


def _threads(total: int) -> int:
    return torch.get_num_threads() if total >= _GRAIN else 1


def _bits(key: Key | None) -> int:
    return 0 if key is None else int(key) & 0xFFFFFFFFFFFFFFFF


def adversarial_loss(
    logits: Sequence[Tensor], spec: LossSpec, key: Key | None, dtype: torch.dtype
) -> Tensor | tuple[Tensor, ...]:
    """As :func:`ganfast.reference.adversarial_loss`."""
    logits = _plain(logits)
    handle, code = _handle(spec, logits[0].dtype), _CODE[dtype]
    groups: list[int] = []
    total = 0
    if spec.reduction == "none":
        values = tuple([torch.empty_like(x, dtype=dtype) for x in logits])
        for x, value in zip(logits, values, strict=True):
            count = x.numel()
            total += count
            groups += (x.data_ptr(), count, value.data_ptr())
        _cpu.values(handle, _bits(key), code, _threads(total), *groups)
        return values
    for x in logits:
        count = x.numel()
        total += count
        groups += (x.data_ptr(), count)
    value = torch.empty_like(_SCALAR[dtype])
    _cpu.reduced(handle, _bits(key), value.data_ptr(), code, _threads(total), *groups)
    return value


def adversarial_loss_gradient(
    grad_outputs: Sequence[Tensor],
    logits: Sequence[Tensor],
    spec: LossSpec,
    key: Key | None,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """As :func:`ganfast.reference.adversarial_loss_gradient`."""
    logits = _plain(logits)
    handle, code = _handle(spec, logits[0].dtype), _CODE[grad_outputs[0].dtype]
    groups: list[int] = []
    gradients: list[Tensor | None] = []
    total = 0
    for x, need in zip(logits, needed, strict=True):
        gradient = torch.empty_like(x) if need else None
        gradients.append(gradient)
        count = x.numel()
        total += count
        groups += (x.data_ptr(), count, 0 if gradient is None else gradient.data_ptr())
    if spec.reduction == "none":
        grad_outputs = _plain(grad_outputs)
        for index, grad in enumerate(grad_outputs):
            groups.insert(4 * index + 3, grad.data_ptr())
        _cpu.values_gradient(handle, _bits(key), code, _threads(total), *groups)
    else:
        address = grad_outputs[0].data_ptr()
        _cpu.reduced_gradient(handle, _bits(key), address, code, _threads(total), *groups)
    return tuple(gradients)
