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


X = torch.linspace(-3, 3, 13)


def test_a_convention_takes_a_projects_own_calls():
    pix2pix = ganfast.GANLoss("lsgan", convention="pix2pix")
    torch.testing.assert_close(pix2pix(X, True), ((X - 1) ** 2).mean())
    torch.testing.assert_close(pix2pix(X, False), (X**2).mean())
    basicsr = ganfast.GANLoss("hinge", convention="basicsr")
    torch.testing.assert_close(basicsr(X, True), -X.mean())  # is_disc=False is the default there
    torch.testing.assert_close(basicsr(X, True, is_disc=False), -X.mean())
    torch.testing.assert_close(basicsr(X, True, is_disc=True), (1 - X).relu().mean())
    torch.testing.assert_close(basicsr(X, False, True), (1 + X).relu().mean())


def test_a_convention_with_heads_reductions_and_labels():
    heads = [X, X[:4]]
    smooth = ganfast.GANLoss("lsgan", convention="cyclegan", label_smoothing=0.1)
    wanted = sum(((x - 0.9) ** 2).mean() for x in heads) / 2
    torch.testing.assert_close(smooth(heads, True), wanted)
    high = ganfast.GANLoss("hinge", convention="lightweight-gan", reduction="none")
    assert isinstance(high(heads, True), tuple)
    torch.testing.assert_close(high(heads, True), tuple((1 + x).relu() for x in heads))
    torch.testing.assert_close(high(heads, True, for_discriminator=False), tuple(heads))
    half = ganfast.GANLoss("hinge", convention="vqgan", reduction="none")
    torch.testing.assert_close(half(X, False), (1 + X).relu() / 2)
    torch.testing.assert_close(half(heads, False), tuple((1 + x).relu() / 2 for x in heads))


def test_a_convention_compiles():
    for convention, name in (("vqgan", "hinge"), ("wassersteingan", "wgan")):
        loss = ganfast.GANLoss(name, convention=convention)
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(X, True), loss(X, True))


def test_a_convention_says_what_it_takes():
    loss = ganfast.GANLoss("lsgan", convention="pix2pix")
    assert repr(loss) == "GANLoss('lsgan', convention='pix2pix', reduction='mean')"
    with pytest.raises(ValueError, match="convention: got 'pix2pixel'; .*did you mean 'pix2pix'"):
        ganfast.GANLoss("lsgan", convention="pix2pixel")
    with pytest.raises(ValueError, match="game of vqgan: got 'lsgan'; give one of hinge, vanilla"):
        ganfast.GANLoss("lsgan", convention="vqgan")
    basicsr = ganfast.GANLoss("hinge", convention="basicsr")
    with pytest.raises(ValueError, match="got False for .*; give True, or for_discriminator=True"):
        basicsr(X, False)
    with pytest.raises(TypeError, match="is_disc: got it and for_discriminator"):
        basicsr(X, True, False, is_disc=True)
    with pytest.raises(TypeError, match="is_disc: got 1; give True or False"):
        basicsr(X, True, is_disc=1)
    with pytest.raises(ValueError, match="give float32"):
        ganfast.GANLoss("hinge", convention="lightweight-gan")(torch.arange(3), True)
