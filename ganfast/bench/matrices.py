"""Many small matrices at once: roots, and traces of roots of products."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ganfast import linalg
from ganfast.bench.case import (
    COMPILED,
    GANFAST,
    Case,
    ErrorOf,
    Provider,
    calling,
    compiled,
    largest,
    multiplying,
    normal,
)

EIGH, EIGVALS, NEWTON_SCHULZ = "eigh", "eigvals (torchmetrics)", "Newton-Schulz"

ROOT_FLOPS, TRACE_FLOPS = 10.0, 8 / 3
"""Times n^3. A root: eigenvectors 9, and half of the product that joins them. A trace: Cholesky
1/3, L^T b L 1, tridiagonalisation 4/3, as LAPACK's sygv has it."""


def eigh_root(a: Tensor) -> Tensor:
    w, v = torch.linalg.eigh(a)
    return (v * w.clamp(min=0).sqrt()[..., None, :]) @ v.mT


def eigh_trace(a: Tensor, b: Tensor) -> Tensor:
    root = eigh_root(a)
    return torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum(-1)


def eigvals_trace(a: Tensor, b: Tensor) -> Tensor:
    """torchmetrics' and torch-fidelity's: eigenvalues of a product that is not symmetric."""
    return torch.linalg.eigvals(a @ b).sqrt().real.sum(-1)


def newton_schulz_root(a: Tensor, iterations: int, tolerance: float | None = None) -> Tensor:
    """The coupled iteration; with a tolerance it ends as piq's does, on |Y^2 - a| / |a|."""
    norm = torch.linalg.matrix_norm(a)[..., None, None]
    y, z = a / norm, torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)
    three = 3 * z
    root = y
    for _ in range(iterations):
        t = (three - z @ y) / 2
        y, z = y @ t, t @ z
        root = y * norm.sqrt()
        if tolerance is not None:
            off = torch.linalg.matrix_norm(root @ root - a) / norm[..., 0, 0]
            if float(off) <= tolerance:
                break
    return root


def covariances(
    count: int, n: int, dtype: torch.dtype, seed: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Well-conditioned, as layers that whiten meet them."""
    rows = normal(count, 2 * n, n, seed=seed, dtype=torch.float64, device=device)
    return (rows.mT @ rows / (2 * n)).to(dtype)


def _tolerance(dtype: torch.dtype) -> float:
    """eigh's own error is 1e-6 or 1e-15 of the largest element; a wrong root is off by 1e-1."""
    return 2e-5 if dtype == torch.float32 else 1e-12


def roots(count: int, n: int, dtype: torch.dtype) -> Case:
    """The square roots of ``count`` n x n matrices."""
    tolerance, short = _tolerance(dtype), str(dtype).removeprefix("torch.")

    def error_of(a: Tensor) -> ErrorOf:
        exact = eigh_root(a.double())
        return lambda _, found: largest(found, exact)

    providers = {
        EIGH: Provider(calling(eigh_root), tolerance),
        f"{NEWTON_SCHULZ}, 10 steps": Provider(calling(partial(newton_schulz_root, iterations=10))),
    }
    if dtype == torch.float32:  # it calls the same eigh: one precision shows that
        providers[COMPILED] = compiled(eigh_root, tolerance)
    return Case(
        name=f"root-{count}x{n}-{short}",
        section="sqrtm in batches",
        label=f"{count:,} x {n} x {n}, {short}",
        inputs=lambda device, seed: (covariances(count, n, dtype, seed + 1, device),),
        providers={**providers, GANFAST: Provider(calling(linalg.sqrtm), tolerance)},
        error_of=error_of,
        limit=partial(multiplying, 1024, dtype, ROOT_FLOPS * count * n**3),
        seconds=1.0,
    )


def traces(count: int, n: int, dtype: torch.dtype) -> Case:
    """Tr (a b)^1/2 of ``count`` pairs of n x n matrices."""
    tolerance, short = _tolerance(dtype), str(dtype).removeprefix("torch.")

    def error_of(a: Tensor, b: Tensor) -> ErrorOf:
        exact = eigh_trace(a.double(), b.double())
        return lambda _, found: largest(found, exact)

    return Case(
        name=f"traces-{count}x{n}-{short}",
        section="trace_sqrtm in batches",
        label=f"{count:,} x {n} x {n}, {short}",
        inputs=lambda device, seed: tuple(
            covariances(count, n, dtype, 2 * seed + side, device) for side in (1, 2)
        ),
        providers={
            # On a GPU it wants a torch that was built with MAGMA, or a new cuSOLVER.
            EIGVALS: Provider(calling(eigvals_trace), slow=n >= 1024, optional=True),
            f"{EIGH}, eigvalsh": Provider(calling(eigh_trace), tolerance),
            GANFAST: Provider(calling(linalg.trace_sqrtm), tolerance),
        },
        error_of=error_of,
        limit=partial(multiplying, 1024, dtype, TRACE_FLOPS * count * n**3),
        seconds=1.0,
        patience=1.0,
        setting_up=8.0 if n >= 1024 else 0.0,  # calls of eigvals
    )
