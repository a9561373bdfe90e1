"""Linear algebra of the Fréchet distance between two Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor:
    """|mu1 - mu2|^2 + Tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^{1/2}), computed in float64.

    ``mu1`` and ``mu2`` have shape (d,), ``sigma1`` and ``sigma2`` shape (d, d), symmetric positive
    semi-definite; singular covariances (fewer samples than features) are fine. Returns a float64
    scalar tensor, never below 0. Raises ValueError, naming the argument, for a wrong shape or a
    value that is not finite.

    No matrix square root is formed. With sigma1 = L L^T, the trace is the sum of the square roots
    of the eigenvalues of the symmetric matrix L^T sigma2 L: real by construction, whatever the
    rank.
    """
    if mu1.dim() != 1:
        raise ValueError(f"mu1 must have shape (d,), got {tuple(mu1.shape)}")
    d = mu1.shape[0]
    wanted = {"mu1": (d,), "sigma1": (d, d), "mu2": (d,), "sigma2": (d, d)}
    given = {"mu1": mu1, "sigma1": sigma1, "mu2": mu2, "sigma2": sigma2}
    for name, value in given.items():
        if tuple(value.shape) != wanted[name]:
            raise ValueError(
                f"{name} must have shape {wanted[name]} to match mu1, got {tuple(value.shape)}"
            )
        if not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{name} has values that are not finite: check the features it came from"
            )
    mu1, sigma1, mu2, sigma2 = (value.to(torch.float64) for value in given.values())

    eigenvalues, vectors = torch.linalg.eigh(sigma1)
    # eigh sorts ascending. Largest column first, the sandwich is graded downwards, and eigvalsh
    # (which reads the lower triangle) then keeps the digits of its small eigenvalues; the other
    # order loses half of them.
    factor = (vectors * eigenvalues.clamp(min=0).sqrt()).flip(-1)
    sandwich = factor.T @ sigma2 @ factor
    trace_sqrt = torch.linalg.eigvalsh(sandwich).clamp(min=0).sqrt().sum()
    distance = (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * trace_sqrt
    return distance.clamp(min=0)  # round-off alone can take equal Gaussians below 0
