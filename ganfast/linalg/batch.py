"""Batches of small matrices: by a backend's kernel, or by torch's LAPACK."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from ganfast import _dispatch, reference
from ganfast._autograd.tracing import must_trace
from ganfast.linalg.inputs import NotDefinite


def _kernel(op: str, a: Tensor) -> ModuleType | None:
    """The backend whose batch kernel is the fastest for matrices of this size, if there is one."""
    if must_trace((a,)) is not None:
        return None
    module = _dispatch.pick(op, a)
    return module if a.shape[-1] <= module.BATCH_LIMIT.get(op, 0) else None


def roots(tolerance: float, a: Tensor) -> Tensor:
    """The roots of symmetric (..., n, n), or NotDefinite."""
    batch = a.reshape(-1, *a.shape[-2:])
    module = _kernel("sqrtm", a)
    if module is None:
        result, definite = reference.batch_sqrtm(batch, tolerance)
    else:
        result, definite = module.batch_sqrtm(batch.contiguous(), tolerance)
    if not bool(definite.all()):
        raise NotDefinite
    return result.view(a.shape)


def traces(tolerances: tuple[float, float], a: Tensor, b: Tensor) -> Tensor | None:
    """Tr (a b)^{1/2} of symmetric (B, n, n), or NotDefinite; None if no kernel takes them."""
    module = _kernel("trace_sqrtm", a)
    if module is None:
        return None
    result, definite = module.batch_trace_sqrtm(a.contiguous(), b.contiguous(), *tolerances)
    if not bool(definite.all()):
        raise NotDefinite
    return result
