"""Gradients of several losses at the output that they share, and their weighted sum.

What adaptive_weight and LossBalancer have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ganfast import _checks
from ganfast._autograd.balance import gradients_at, joined
from ganfast.errors import DivergedError, InputError, InputTypeError, one_line
from ganfast.reference.losses import accumulation_dtype


def output_gradients(
    losses: dict[str, Tensor],
    output: Tensor,
    parameters: Sequence[Tensor],
    scale: float | Tensor,
) -> list[tuple[Tensor, ...]]:
    """The gradient of each loss at ``output``, in its dtype or wider, and at ``parameters``."""
    if not isinstance(output, Tensor):
        raise InputTypeError(f"output: got a {type(output).__name__}; give a tensor")
    if not output.requires_grad:
        raise InputError(
            "output: has no graph, so there are no gradients to balance; compute it with gradients "
            "enabled and without detach(), or add the losses up yourself"
        )
    for name, loss in losses.items():
        if not isinstance(loss, Tensor):
            raise InputTypeError(f"{name}: got a {type(loss).__name__}; give a 0-d tensor")
        if loss.dim() != 0:
            raise InputError(f"{name}: has the shape {tuple(loss.shape)}; give its mean, 0-d")
        if not loss.requires_grad:
            raise InputError(_UNREACHED.format(name=name))
    for index, p in enumerate(parameters):
        if not isinstance(p, Tensor) or not p.requires_grad:
            raise InputError(f"parameters[{index}]: needs no gradient; leave it out")
    tensors = (output, *parameters)
    seed = _seed(scale, output.device)
    try:
        found = gradients_at(list(losses.values()), tensors, seed)
    except RuntimeError as error:
        raise explained(error, "losses") from error
    for name, each in zip(losses, found, strict=True):
        if each[0] is None:
            raise InputError(_UNREACHED.format(name=name))
    return [
        tuple(
            torch.zeros_like(x) if g is None else unscaled(g, scale)
            for g, x in zip(each, tensors, strict=True)
        )
        for each in found
    ]


_UNREACHED = (
    "{name}: does not reach the output through autograd; compute it from this very output, "
    "without detach() or no_grad on the way"
)


def _seed(scale: float | Tensor, device: torch.device) -> Tensor | None:
    if isinstance(scale, Tensor):
        if scale.numel() != 1:
            raise InputError(f"scale: has the shape {tuple(scale.shape)}; give one number")
        return scale.detach().reshape(()).to(device)
    number = _checks.number("scale", scale, above=0)
    return None if number == 1.0 else torch.full((), number, device=device)


def scaled(gradient: Tensor, scale: float | Tensor) -> Tensor:
    """``gradient`` times ``scale``, in its dtype or wider."""
    if not isinstance(scale, Tensor) and scale == 1.0:
        return gradient
    return widened(gradient) * scale


def unscaled(gradient: Tensor, scale: float | Tensor) -> Tensor:
    if not isinstance(scale, Tensor) and scale == 1.0:
        return gradient
    return widened(gradient) / (scale.detach() if isinstance(scale, Tensor) else scale)


def widened(x: Tensor) -> Tensor:
    """In the dtype that norms and sums are computed in."""
    return x.to(accumulation_dtype(x.dtype))


def explained(error: RuntimeError, name: str) -> RuntimeError:
    text = one_line(error)
    if "donated buffers" in text:
        return RuntimeError(
            f"{name}: torch.compile made a graph that can be differentiated once. "
            "Give recompute=(layer, its input) for a compiled last layer; for losses that share a "
            "compiled network, set torch._functorch.config.donated_buffer = False"
        )
    if "use_reentrant" in text or "Checkpointing is not compatible" in text:
        return RuntimeError(
            f"{name}: torch.utils.checkpoint is used with use_reentrant=True, which cannot give a "
            "gradient at the output; use checkpoint(..., use_reentrant=False)"
        )
    return error


def total(x: Tensor, all_reduce: bool, group: Any, power: int = 1) -> Tensor:
    """The mean of ``x`` over the processes; their sum over the number of processes to ``power``."""
    x = widened(x)
    if not (all_reduce and dist.is_available() and dist.is_initialized()):
        return x
    world = dist.get_world_size(group)
    if world > 1:
        x = x.contiguous()
        dist.all_reduce(x, group=group)
        x = x / world**power
    return x


def stored(buffer: Tensor, value: Tensor) -> Tensor:
    """What a module's ``buffer`` is from now on: itself, with ``value`` in it, where it can, since
    a captured CUDA graph reads it at the same address in each replay; else ``value``."""
    value = value.detach()
    alike = buffer.dtype == value.dtype and buffer.device == value.device
    sealed = buffer.is_inference() and not torch.is_inference_mode_enabled()
    if not alike or sealed or torch._C._are_functorch_transforms_active():
        return value
    with torch.no_grad():
        return buffer.copy_(value)


def refuse_norms(names: Sequence[str], norms: Tensor) -> None:
    """DivergedError for the first norm that is 0 or not finite."""
    for name, norm in zip(names, norms.tolist(), strict=True):
        if not 0.0 < norm < float("inf"):
            raise DivergedError(
                f"{name}: the norm of its gradient is {norm:g}, which nothing can be balanced with"
            )


def weighted(
    losses: dict[str, Tensor],
    found: Sequence[tuple[Tensor, ...]],
    weights: Sequence[float | Tensor],
    output: Tensor,
    parameters: Sequence[Tensor],
) -> Tensor:
    """sum_k weights_k * loss_k, whose gradients are the same sum of the ``found`` ones."""
    with torch.no_grad():
        values = [widened(loss) * w for loss, w in zip(losses.values(), weights, strict=True)]
        sums = []
        for each in zip(*found, strict=True):
            terms = [widened(g) * w for g, w in zip(each, weights, strict=True)]
            sums.append(sum(terms[1:], terms[0]))
        value = sum(values[1:], values[0])
    return joined(value, (output, *parameters), sums)
