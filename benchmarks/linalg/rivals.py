"""How the field takes square roots: written here as its projects call them."""

from __future__ import annotations

import inspect

import numpy as np
import torch
from torch import Tensor

SCIPY, EIGVALS = "scipy sqrtm (pytorch-fid)", "eigvals (torchmetrics)"
EIGH, NEWTON_SCHULZ = "eigh", "Newton-Schulz"


def scipy_trace(a: np.ndarray, b: np.ndarray) -> float:
    """pytorch-fid's: the root of the product, its real part kept."""
    from scipy import linalg

    # SciPy 1.18 has no `disp`, with which sqrtm returned a pair.
    if "disp" in inspect.signature(linalg.sqrtm).parameters:
        root, _ = linalg.sqrtm(a.dot(b), disp=False)
    else:
        root = linalg.sqrtm(a.dot(b))
    return float(np.trace(root.real))


def eigvals_trace(a: Tensor, b: Tensor) -> Tensor:
    """torchmetrics' and torch-fidelity's: eigenvalues of a product that is not symmetric."""
    return torch.linalg.eigvals(a @ b).sqrt().real.sum(-1)


def eigh_root(a: Tensor) -> Tensor:
    w, v = torch.linalg.eigh(a)
    return (v * w.clamp(min=0).sqrt()[..., None, :]) @ v.mT


def eigh_trace(a: Tensor, b: Tensor) -> Tensor:
    root = eigh_root(a)
    return torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum(-1)


def newton_schulz_root(a: Tensor, iterations: int, tolerance: float | None = None) -> Tensor:
    """The coupled iteration; with a tolerance it ends as piq's does, on |Y^2 - a| / |a|."""
    norm = torch.linalg.matrix_norm(a)[..., None, None]
    y, z = a / norm, torch.eye(a.shape[-1], dtype=a.dtype).expand_as(a)
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


def newton_schulz_trace(a: Tensor, b: Tensor) -> Tensor:
    return newton_schulz_root(a @ b, iterations=100, tolerance=1e-5).trace()
