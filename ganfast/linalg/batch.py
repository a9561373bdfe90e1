"""Small matrices: whether a backend's kernel takes the batch, or torch's LAPACK does."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from ganfast._dispatch import serve
from ganfast.linalg.definite import NotDefinite
from ganfast.reference import linalg as reference


def _kernel(op: str, a: Tensor) -> ModuleType | None:
    """The backend whose batch kernel is the fastest way for matrices of this size, if one is."""
    module = serve(op, (a,))
    return module if a.shape[-1] <= module.BATCH_LIMIT.get(op, 0) else None


def roots(tolerance: float, a: Tensor) -> Tensor:
    """The roots of symmetric (..., n, n), or NotDefinite."""
    batch = a.reshape(-1, *a.shape[-2:])
    module = _kernel("sqrtm", a)
    if module is None:
        result, definite = reference.linalg.batch_sqrtm(batch, tolerance)
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
