"""When a kernel cannot be used, because what it would be given are not plain tensors in memory."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.nn import Parameter

from ganfast import _dispatch, reference

_transforms_active = torch._C._are_functorch_transforms_active


def must_trace(tensors: tuple[Tensor, ...]) -> str | None:
    """Why these tensors need the reference's plain torch operations; None if a kernel serves.

    torch.compile fuses the reference by itself; functorch transforms, forward-mode AD and tensor
    subclasses (FakeTensor, DTensor, ...) have no addresses that a kernel could read.
    """
    if is_compiling():
        return "torch.compile is tracing"
    if _transforms_active():
        return "a torch.func transform is active"
    if forward_ad._current_level >= 0:
        return "forward-mode AD is active"
    for x in tensors:
        kind = type(x)
        if kind is not Tensor and kind is not Parameter:
            return f"{kind.__name__} is a tensor subclass"
    return None


def serving(op: str, tensors: tuple[Tensor, ...]) -> ModuleType:
    """The backend that serves ``op`` on these tensors: the reference where they must be traced.

    RuntimeError if another one is forced that cannot.
    """
    why = must_trace(tensors)
    if why is None:
        return _dispatch.pick(op, tensors[0])
    if not is_compiling() and _dispatch.forced() not in (None, "reference"):
        raise RuntimeError(
            f"backend {_dispatch.forced()!r} was forced but cannot serve {op}: {why}"
        )
    return reference
