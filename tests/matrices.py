"""Symmetric positive semi-definite matrices that break eigensolvers, by name."""

from __future__ import annotations

import torch

from testing import gaussians


def symmetric(a):
    return (a + a.mT) / 2


def gram(count, rank, n, seed):
    """X^T X / n for `count` matrices X (rank, n), and the X."""
    x = gaussians.normal(count, rank, n, seed=seed) / n**0.5
    return symmetric(x.mT @ x), x


def spectrum(n):
    """By name: matrices with eigenvalues that break eigensolvers, in a basis of their own."""
    q = gaussians.orthogonal(n, seed=n)
    values = {
        "repeated": torch.tensor([2.0, 1.0, 0.5]).double().repeat(n)[:n],
        "condition 1e16": torch.logspace(0, -16, n, dtype=torch.float64),
        "one is large": torch.cat([torch.ones(1), torch.full((n - 1,), 1e-9)]).double(),
        "clustered": 1 + 1e-13 * torch.arange(n, dtype=torch.float64),
        "rank one": (torch.arange(n) == 0).double(),
        "zero": torch.zeros(n).double(),
    }
    return {name: symmetric((q * w) @ q.mT) for name, w in values.items()}


def graded(n):
    """D M D for a well-conditioned M: small entries are exact, and so should be their roots."""
    d = torch.logspace(0, -8, n, dtype=torch.float64)
    m = gram(1, 4 * n, n, seed=3)[0][0]
    return symmetric(d[:, None] * m * d)


def special(n):
    """By name: matrices that are tridiagonal, diagonal, split or graded as they stand."""
    one = torch.ones(n - 1, dtype=torch.float64)
    arrow = torch.eye(n).double() * n
    arrow[0], arrow[:, 0] = 1, 1
    down = graded(n)
    apart = torch.block_diag(gram(1, n, n - n // 2, seed=5)[0][0], torch.eye(n // 2).double())
    return {
        "identity": torch.eye(n).double(),
        "ones": torch.ones(n, n).double(),
        "tridiagonal": 2 * torch.eye(n).double() - one.diag(1) - one.diag(-1),
        "tiny coupling": torch.eye(n).double() + 1e-160 * (one.diag(1) + one.diag(-1)),
        "arrow": arrow + n * torch.eye(n).double(),
        "descending": torch.logspace(0, -15, n, dtype=torch.float64).diag(),
        "ascending": torch.logspace(-15, 0, n, dtype=torch.float64).diag(),
        "graded down": down,
        "graded up": down.flip(0, 1),
        "apart": apart,
    }
