"""What a type checker must make of a user's code; checked by `make lint`, never run."""

from __future__ import annotations

from typing import Any

import torch
from typing_extensions import assert_type

import ganfast
import ganfast.functional as GF
from ganfast import linalg, optim
from ganfast.metrics import FrechetInceptionDistance, evaluate


def step(critic: torch.nn.Module, real: torch.Tensor, fake: torch.Tensor) -> float:
    optimizer = optim.RMSprop(critic.parameters(), lr=1e-3, weight_clip=0.01)
    loss = GF.discriminator_loss(critic(real), critic(fake), game="hinge")
    assert_type(loss, torch.Tensor)
    penalty = GF.gradient_penalty(critic, real, fake)
    assert_type(penalty, torch.Tensor)
    assert_type(GF.interpolate(real, fake), torch.Tensor)
    assert_type(GF.penalty_from_gradient(real), torch.Tensor)
    assert_type(GF.generator_loss(critic(fake)), torch.Tensor)
    with ganfast.backend("cpu"):
        torch.autograd.backward(loss + penalty)
    optimizer.step()
    assert_type(ganfast.GANLoss("hinge"), ganfast.GANLoss)
    return float(loss)


def score(real: torch.Tensor, fake: torch.Tensor) -> dict[str, Any]:
    zero, eye = torch.zeros(2), torch.eye(2)
    assert_type(linalg.sqrtm(eye), torch.Tensor)
    assert_type(linalg.frechet_distance(zero, eye, zero, eye), torch.Tensor)
    fid = FrechetInceptionDistance()
    fid.update(real, real=True)
    fid.update(fake, real=False)
    assert_type(fid.compute(), torch.Tensor)
    return assert_type(evaluate("real", "fake", kid=True), dict[str, Any])
