"""The gradient penalty of WGAN-GP in eager PyTorch: exact, to any order of gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gradient_penalty(
    critic: nn.Module, real: Tensor, fake: Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    """mean_i (||grad critic(x_i)||_2 - 1)^2 at points x_i = eps_i real_i + (1 - eps_i) fake_i, a
    scalar.

    ``real`` and ``fake`` have one shape (n, ...). One eps ~ U(0, 1) per sample, drawn where the
    samples are. Gulrajani et al. 2017, arXiv:1704.00028.
    """
    eps_shape = (len(real),) + (1,) * (real.dim() - 1)
    eps = torch.rand(eps_shape, generator=generator, device=real.device, dtype=real.dtype)
    between = fake.detach().lerp(real, eps).requires_grad_()
    # Scores are per sample, so the gradient of their sum holds each sample's own gradient.
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return penalty_from_gradient(gradient)


def penalty_from_gradient(gradient: Tensor) -> Tensor:
    """mean_i (||gradient_i||_2 - 1)^2, the norm over everything but the first dimension."""
    squares = gradient.flatten(1).square().sum(1)
    # sqrt has an infinite slope at 0, and infinity times a zero gradient is NaN: there take the
    # subgradient 0.
    flat = squares == 0
    norms = torch.where(flat, 0, torch.where(flat, 1, squares).sqrt())
    return (norms - 1).square().mean()
