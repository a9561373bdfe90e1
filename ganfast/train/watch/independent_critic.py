"""How far generated samples are from data that neither generator nor critic has seen, on one scale
for all games: by a critic of its own (Danihelka et al. 2017, arXiv:1705.05263)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

import ganfast.functional as GF
from ganfast.optim import Adam
from ganfast.train import networks

STEPS, BATCH, WIDTH, RATE, WEIGHT = 150, 64, 32, 1e-3, 10.0


class Distance(NamedTuple):
    """E f(real) - E f(generated) for a fresh critic f, on real samples that it has not seen, and on
    those that it was fitted to. ``fit`` minus ``test`` is what it overfits by: where that is as
    large as ``test``, there are too few held-out samples to say more."""

    test: float
    fit: float


def independent_distance(
    held_out: Tensor, generated: Tensor, *, seed: int = 0, steps: int = STEPS
) -> Distance:
    """Fit a 1-Lipschitz critic to one half of ``held_out`` against ``generated``, and read it on
    the other half.

    An estimate of the earth mover's distance W, which the penalty lets grow to W (1 + W / 20) at
    most: better than the training critic's own, which moves with the generator and lags behind.
    Nothing is drawn from any stream but that of ``seed``, which gives the same number for the same
    samples.

    Args:
        held_out: real samples (n, *shape), images in [-1, 1]; or their features (n, d), which
            should have a spread of about 1.
        generated: (m, *shape), of an average generator; thousands, or the critic learns them by
            heart and the distance never gets small.
        seed: of the critic's weights, and of all that is drawn.
        steps: of the critic, with WGAN-GP's penalty (arXiv:1704.00028).
    """
    device = held_out.device
    _, critic = networks.build(tuple(held_out.shape[1:]), 1, WIDTH, seed)
    critic.to(device)
    optimizer = Adam(critic.parameters(), lr=RATE, betas=(0.0, 0.9))
    random = torch.Generator(device).manual_seed(seed)
    fit, test = held_out.tensor_split(2)

    def some(samples: Tensor) -> Tensor:
        return samples[torch.randint(len(samples), (BATCH,), generator=random, device=device)]

    for _ in range(steps):
        real, fake = some(fit), some(generated)
        loss = GF.discriminator_loss(critic(real), critic(fake), game="wasserstein")
        loss = loss + GF.gradient_penalty(critic, real, fake, weight=WEIGHT, generator=random)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        height = torch.cat([critic(part) for part in generated.split(256)]).mean()
        return Distance(*(float(critic(half).mean() - height) for half in (test, fit)))
