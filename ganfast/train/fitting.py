"""Whether networks, noise and samples fit together, before anything is trained."""

from __future__ import annotations

import torch
from torch import nn

from ganfast.errors import InputError, one_line
from ganfast.train.players import evaluating


@torch.no_grad()
def check_networks(
    generator: nn.Module, critic: nn.Module, shape: tuple[int, ...], latent_dim: int
) -> None:
    """Raise InputError unless the two networks fit to samples of ``shape`` and to each other."""
    with evaluating(generator, critic):
        _check(generator, critic, shape, latent_dim)


def _check(
    generator: nn.Module, critic: nn.Module, shape: tuple[int, ...], latent_dim: int
) -> None:
    like = next(generator.parameters())
    try:
        samples = generator(torch.zeros((2, latent_dim), device=like.device, dtype=like.dtype))
    except RuntimeError as error:
        raise InputError(
            f"generator: it does not take noise (n, {latent_dim}) ({one_line(error)}); give one "
            "that does, or latent_dim"
        ) from None
    if tuple(samples.shape) != (2, *shape):
        raise InputError(
            f"generator: got samples of shape {tuple(samples.shape[1:])}; give one that makes them "
            f"of shape {shape}, as the source does"
        )
    try:
        scores = critic(samples.to(next(critic.parameters())))
    except RuntimeError as error:
        raise InputError(
            f"critic: it does not take samples (n, *{shape}) ({one_line(error)}); give another"
        ) from None
    if scores.shape[:1] != (2,):
        raise InputError(
            f"critic: got scores of shape {tuple(scores.shape)} for 2 samples; give one that keeps "
            "the batch in front"
        )
