"""GANLoss against the functions it stands for."""

from __future__ import annotations

import pytest
import torch

import ganfast
import ganfast.functional as GF
from ganfast.games import GAMES, REDUCTIONS


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("game", GAMES)
def test_two_calls_make_one_discriminator_loss(game, reduction):
    loss = ganfast.GANLoss(game, reduction=reduction)
    real, fake = torch.randn(9, 1), torch.randn(5, 1)
    sides = loss(real, True), loss(fake, False)
    joint = GF.discriminator_loss(real, fake, game=game, reduction=reduction)
    if reduction == "none":
        torch.testing.assert_close(sides, joint)
    else:
        torch.testing.assert_close(sum(sides), joint)
    expected = GF.generator_loss(fake, game=game, reduction=reduction)
    torch.testing.assert_close(loss(fake, True, for_discriminator=False), expected)


def test_soft_labels_and_heads():
    loss = ganfast.GANLoss("lsgan", label_smoothing=0.2)
    x = [torch.randn(3), torch.randn(4, 4)]
    expected = sum(((t - 0.8) ** 2).mean() / 2 for t in x) / 2
    torch.testing.assert_close(loss(x, True), expected)
    torch.testing.assert_close(loss(x, False), sum((t**2).mean() / 2 for t in x) / 2)
    noisy = [
        ganfast.GANLoss("ns", label_noise=0.1, generator=torch.Generator().manual_seed(4))(x, True)
        for _ in range(2)
    ]
    assert noisy[0] == noisy[1] != ganfast.GANLoss("ns")(x, True)


def test_is_a_module():
    loss = ganfast.GANLoss("ns", label_smoothing=0.1)
    assert list(loss.parameters()) == [] and loss.state_dict() == {}
    assert repr(loss) == "GANLoss('nonsaturating', reduction='mean', label_smoothing=0.1)"
