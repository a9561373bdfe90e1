"""Through ganfast.functional and autograd, with the Triton backend forced."""

import pytest
import torch
from oracle import DEVICE

import ganfast.functional as GF
from ganfast import _dispatch
from ganfast.games import GAMES


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def both(call, *tensors):
    """(value, gradients) of ``call`` on Triton and on the reference in float64."""
    results = []
    for name, dtype in (("triton", torch.float32), ("reference", torch.float64)):
        leaves = [x.detach().to(dtype).requires_grad_(x.requires_grad) for x in tensors]
        with _dispatch.backend(name):
            value = call(*leaves)
            gradients = torch.autograd.grad(value, [x for x in leaves if x.requires_grad])
        results.append((value.detach().double(), [g.double() for g in gradients]))
    return results


def near(got, oracle):
    torch.testing.assert_close(got, oracle, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("game", GAMES)
def test_discriminator_and_generator(game):
    real = normal(31, 3).requires_grad_()
    fake = normal(7, 150, seed=1).requires_grad_()
    near(*both(lambda x, y: 3.0 * GF.discriminator_loss(x, y, game=game), real, fake))
    near(*both(lambda x: GF.generator_loss(x, game=game).square(), fake))
    near(*both(lambda x, y: GF.discriminator_loss(x, y.detach(), game=game), real, fake.detach()))


def test_heads_and_none():
    heads = [normal(4, n, seed=n) for n in (9, 4, 1)]
    heads = [x.requires_grad_() for x in heads]

    def loss(*leaves):
        return GF.discriminator_loss(list(leaves), [-x for x in leaves], game="hinge")

    def weighted(*leaves):
        values = GF.generator_loss(list(leaves), reduction="none")
        return sum((value * (index + 1.0)).sum() for index, value in enumerate(values))

    near(*both(loss, *heads))
    near(*both(weighted, *heads))


def test_the_same_seed_gives_the_same_targets():
    real, fake = normal(40, 2).unbind(1)

    def loss(x, y):
        source = torch.Generator().manual_seed(5)
        return GF.discriminator_loss(
            x, y, label_smoothing=0.1, label_noise=0.2, label_flip=0.3, generator=source
        )

    near(*both(loss, real.contiguous().requires_grad_(), fake.contiguous().requires_grad_()))


def test_retained_graph_and_second_order():
    x = torch.linspace(-3, 3, 41, dtype=torch.float64, device=DEVICE).requires_grad_()
    with _dispatch.backend("triton"):
        loss = GF.generator_loss(x)
        first = torch.autograd.grad(loss, x, retain_graph=True)[0]
        assert torch.equal(first, torch.autograd.grad(loss, x, retain_graph=True)[0])
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), x)
    sigmoid = torch.sigmoid(x.detach())
    near(second, sigmoid * (1 - sigmoid) / 41)


def test_autocast_returns_float32():
    x = normal(100).bfloat16().requires_grad_()
    with _dispatch.backend("triton"), torch.autocast(DEVICE, dtype=torch.bfloat16):
        loss = GF.generator_loss(x)
        values = GF.generator_loss(x, reduction="none")
    assert loss.dtype == values.dtype == torch.float32
    loss.backward()
    values.sum().backward()
    assert x.grad.dtype == torch.bfloat16


def test_explain_says_who_serves():
    verdicts = {
        name: (ok, reason)
        for name, ok, reason in _dispatch.explain("generator_loss", torch.ones(1, device=DEVICE))
    }
    assert verdicts["triton"][0] and "Triton" in verdicts["triton"][1]
    assert not verdicts["cuda"][0] and "no kernel for this op" in verdicts["cuda"][1]
