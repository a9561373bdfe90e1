"""Batches of small matrices: by a backend's kernel, or by torch's LAPACK."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ganfast._autograd.closed_form import is_traced
from ganfast._dispatch import call, serve
from ganfast.linalg.inputs import NotDefinite
from ganfast.reference import linalg as reference


def _kernels(op: str, a: Tensor) -> ModuleType | None:
    """The backend whose batch kernel is the fastest for matrices of this size, if there is one."""
    module = serve(op, (a,))
    return module if a.shape[-1] <= module.BATCH_LIMIT.get(op, 0) else None


def roots(tolerance: float, a: Tensor) -> Tensor:
    """The roots of symmetric (..., n, n), or NotDefinite."""
    batch = a.reshape(-1, *a.shape[-2:]).contiguous()
    module = _kernels("sqrtm", a) or reference
    result, definite = call("sqrtm", module, "batch_sqrtm", batch, tolerance)
    if is_traced():
        result = torch.where(definite[..., None, None], result, torch.nan)
    elif not bool(definite.all()):
        raise NotDefinite
    return result.reshape(a.shape)


def traces(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> Tensor | None:
    """Tr (a b)^{1/2} of symmetric (B, n, n), or NotDefinite; None if no kernel takes them."""
    if is_traced():
        result, definite = reference.batch_trace_sqrtm(a, b, *tolerances)
        return torch.where(definite, result, torch.nan)
    module = _kernels("trace_sqrtm", a)
    if module is None:
        return None
    batches = a.contiguous(), b.contiguous()
    result, definite = call("trace_sqrtm", module, "batch_trace_sqrtm", *batches, *tolerances)
    if not bool(definite.all()):
        raise NotDefinite
    traced: Tensor = result
    return traced
