"""The games that compare real logits with fake ones, and the statistics beside a loss."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import truth
from truth import DTYPES, SIZES, assert_as_good_as_torch

import ganfast
import ganfast.functional as GF
from ganfast import _dispatch
from ganfast.games import GAMES, REDUCTIONS, RELATIVISTIC

BACKENDS = truth.backends()


def loss_of(player, game, real, fake, **options):
    if player == "D":
        return GF.discriminator_loss(real, fake, game=game, **options)
    return GF.generator_loss(fake, real=real, game=game, **options)


def by_hand(player, game, real, fake, reduce):
    """From the papers: G is D with the sides swapped."""
    x, y = (real, fake) if player == "D" else (fake, real)
    if game == "relativistic":
        return reduce(F.softplus(-(x - y)))
    return reduce(F.softplus(-(x - y.mean()))) + reduce(F.softplus(y - x.mean()))


def outcomes(loss, real, fake):
    """The value and both gradients."""
    real, fake = (x.detach().clone().requires_grad_() for x in (real, fake))
    value = loss(real, fake)
    return value.detach(), *torch.autograd.grad(value, (real, fake))


def logits(n, m, dtype, seed=0):
    source = torch.Generator().manual_seed(seed)
    return tuple(3 * torch.randn(k, 1, generator=source).to(dtype) for k in (n, m))


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("player", "DG")
@pytest.mark.parametrize("game", RELATIVISTIC)
def test_the_papers_formula(game, player, dtype, backend):
    for n in SIZES:
        for reduction in ("mean", "sum"):
            real, fake = logits(n, n if game == "relativistic" else n + 3, dtype)
            reduce = getattr(torch, reduction)
            paper = partial(by_hand, player, game, reduce=reduce)
            with ganfast.backend(backend):
                got = outcomes(partial(loss_of, player, game, reduction=reduction), real, fake)
            exact = outcomes(paper, real.double(), fake.double())
            # In half precision the formula rounds between its operations, where ours does not.
            narrow = outcomes(paper, real, fake)
            weight = 1 / n if reduction == "mean" else 1
            sizes = (exact[0], *(8 * weight * (1 + x.double().abs().max()) for x in (real, fake)))
            for a, b, c, size in zip(got, narrow, exact, sizes, strict=True):
                assert_as_good_as_torch(a, b, c, size)


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("player", "DG")
@pytest.mark.parametrize("game", RELATIVISTIC)
def test_heads_and_reductions(game, player, backend):
    shapes = [(4, 1, 9, 9), (4, 1, 5, 5), (4, 7)]
    reals, fakes = ([torch.randn(s, requires_grad=True) for s in shapes] for _ in range(2))
    with ganfast.backend(backend):
        for reduction in ("mean", "sum"):
            joint = loss_of(player, game, reals, fakes, reduction=reduction)
            apart = [
                loss_of(player, game, r, f, reduction=reduction)
                for r, f in zip(reals, fakes, strict=True)
            ]
            torch.testing.assert_close(joint, sum(apart) / 3)
            pair = (torch.autograd.grad(t, reals + fakes) for t in (joint, sum(apart) / 3))
            torch.testing.assert_close(*map(list, pair))
        each = loss_of(player, game, reals, tuple(fakes), reduction="none")
        single = loss_of(player, game, reals[1], fakes[1], reduction="none")
        mean = loss_of(player, game, reals[1], fakes[1])
    if game == "relativistic":
        assert [x.shape for x in each] == [x.shape for x in reals]
        torch.testing.assert_close(each[1], single)
        torch.testing.assert_close(single.mean(), mean)
    else:
        assert [[x.shape for x in side] for side in each] == [[x.shape for x in reals]] * 2
        torch.testing.assert_close((each[0][1], each[1][1]), single)
        torch.testing.assert_close(single[0].mean() + single[1].mean(), mean)


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("player", "DG")
@pytest.mark.parametrize("game", RELATIVISTIC)
def test_second_order(game, player, reduction, backend):
    """Exact where gradients are differentiated again, for one side and for both."""
    real, fake = (x.requires_grad_() for x in logits(5, 5, torch.float64))

    def loss(real, fake):
        value = loss_of(player, game, real, fake, reduction=reduction)
        return sum((x * x).sum() for x in (value if isinstance(value, tuple) else (value,)))

    with ganfast.backend(backend):
        assert torch.autograd.gradcheck(loss, (real, fake))
        assert torch.autograd.gradgradcheck(loss, (real, fake))
        for side in ((real, fake.detach()), (real.detach(), fake)):
            assert torch.autograd.gradcheck(loss, side)


@pytest.mark.parametrize("game", RELATIVISTIC)
def test_transforms_and_compilation(game):
    real, fake = logits(6, 6, torch.float32)
    expected = outcomes(lambda r, f: loss_of("G", game, r, f), real, fake)
    by_func = torch.func.grad(lambda r, f: loss_of("G", game, r, f), argnums=(0, 1))(real, fake)
    torch.testing.assert_close(by_func, expected[1:])
    both = torch.stack((real, fake))
    values = torch.func.vmap(lambda r, f: loss_of("D", game, r, f))(both, both.flip(0))
    torch.testing.assert_close(values[0], loss_of("D", game, real, fake))
    compiled = torch.compile(
        lambda r, f: loss_of("G", game, r, f), fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(outcomes(compiled, real, fake), expected)


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
def test_layouts_and_extremes(backend):
    base = torch.randn(6, 8, 4)
    big = torch.tensor([1e4, -1e4, math.inf, -math.inf, 0.0])
    with ganfast.backend(backend):
        a, b = base[:, ::2], base[:, 1::2]
        got = outcomes(lambda r, f: loss_of("D", "rpgan", r, f), a.mT, b.mT)
        apart = outcomes(lambda r, f: loss_of("D", "rpgan", r, f), a.contiguous(), b.contiguous())
        each = loss_of("D", "relativistic", big, torch.zeros(5), reduction="none")
        nothing = loss_of("D", "relativistic", torch.empty(0), torch.empty(0), reduction="sum")
    torch.testing.assert_close((got[0], got[1].mT, got[2].mT), apart)
    assert each.tolist()[:4] == [0.0, 1e4, 0.0, math.inf]
    assert each[4] == pytest.approx(math.log(2)) and nothing == 0


def test_names():
    assert {name for row in RELATIVISTIC.values() for name in row.aliases} == {"rpgan", "ragan"}
    real, fake = logits(5, 5, torch.float32)
    for name, row in (("R3GAN", "relativistic"), ("rasgan", "relativistic_average")):
        got = GF.discriminator_loss(real, fake, game=name)
        assert torch.equal(got, GF.discriminator_loss(real, fake, game=row))
    assert not set(GAMES) & set(RELATIVISTIC)


def test_generator_that_is_given_real_logits_it_does_not_compare():
    real, fake = logits(5, 4, torch.float32)
    assert torch.equal(GF.generator_loss(fake, real=real), GF.generator_loss(fake))


BAD = {
    "(8,) and (8, 1)": lambda f: f(torch.zeros(8), torch.zeros(8, 1), game="relativistic"),
    "(8, 1) and (7, 1)": lambda f: f(torch.zeros(8, 1), torch.zeros(7, 1), game="rpgan"),
    "play 'relativistic_average'": lambda f: f([torch.ones(3)] * 2, [torch.ones(3), torch.ones(4)],
                                               game="relativistic"),
    "the same heads": lambda f: f([torch.zeros(3)], torch.zeros(3), game="relativistic"),
    "dtype": lambda f: f(torch.zeros(3), torch.zeros(3).double(), game="relativistic"),
    "is empty": lambda f: f(torch.zeros(0), torch.zeros(0), game="ragan", reduction="sum"),
}  # fmt: skip


@pytest.mark.parametrize("player", "DG")
@pytest.mark.parametrize("said", BAD)
def test_bad_input(said, player):
    def call(first, second, **options):
        if player == "D":
            return GF.discriminator_loss(first, second, **options)
        return GF.generator_loss(first, real=second, **options)

    with pytest.raises(ValueError) as raised:
        BAD[said](call)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_missing_real_and_soft_labels():
    with pytest.raises(ValueError, match=r"^real: got None, but game='rpgan' compares .* real=D"):
        GF.generator_loss(torch.zeros(3), game="rpgan")
    with pytest.raises(ValueError, match="label_smoothing: got 0.1, but relativistic has no"):
        loss_of("D", "relativistic", torch.zeros(3), torch.zeros(3), label_smoothing=0.1)


# ---- GANLoss ---------------------------------------------------------------------------


@pytest.mark.parametrize("game", RELATIVISTIC)
def test_criterion(game):
    criterion = ganfast.GANLoss(game)
    real, fake = logits(6, 6, torch.float32)
    d = criterion(real, True, other=fake)
    g = criterion(fake, True, for_discriminator=False, other=real)
    assert torch.equal(d, GF.discriminator_loss(real, fake, game=game))
    assert torch.equal(g, GF.generator_loss(fake, real=real, game=game))
    with pytest.raises(ValueError, match=r"^other: got None, but .* compares .* other="):
        criterion(real, True)
    with pytest.raises(ValueError, match=r"^target_is_real: got False, but one call gives"):
        criterion(fake, False, other=real)


def test_criterion_of_one_side_does_not_take_another():
    with pytest.raises(ValueError, match=r"^other: got logits, but hinge looks at one side"):
        ganfast.GANLoss("hinge")(torch.zeros(3), True, other=torch.zeros(3))


# ---- statistics ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("game", [*GAMES, *RELATIVISTIC])
def test_statistics(game, dtype, backend):
    for n in (1, 31, 2049, 600_000):
        real, fake = logits(n, n if game == "relativistic" else n + 2, dtype)
        real.requires_grad_()
        with ganfast.backend(backend):
            found = GF.discriminator_loss(real, fake, game=game, return_statistics=True)
            plain = GF.discriminator_loss(real, fake, game=game)
        torch.testing.assert_close(found.loss, plain)
        (one,), (other,) = (torch.autograd.grad(x, real) for x in (found.loss, plain))
        assert torch.equal(one, other)
        wide_real, wide_fake = real.detach().double(), fake.double()
        exact = (
            wide_real.mean(), wide_fake.mean(), wide_real.mean() - wide_fake.mean(),
            (wide_real > 0).double().mean(), (wide_fake < 0).double().mean(),
        )  # fmt: skip
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        for got, true in zip(found[1:], exact, strict=True):
            assert got.dtype == wide and got.shape == () and not got.requires_grad
            torch.testing.assert_close(got.double(), true, rtol=0, atol=30 * torch.finfo(wide).eps)


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
def test_statistics_of_heads_and_noise(backend):
    reals, fakes = ([torch.randn(n) for n in (3, 4000)] for _ in range(2))
    with ganfast.backend(backend):
        found = GF.discriminator_loss(
            reals, fakes, reduction="sum", label_noise=0.1, return_statistics=True
        )
        apart = [
            GF.discriminator_loss(r, f, return_statistics=True)
            for r, f in zip(reals, fakes, strict=True)
        ]
        nothing = GF.discriminator_loss(
            torch.empty(0), torch.ones(2), reduction="sum", return_statistics=True
        )
    for name in found._fields[1:]:
        mean = sum(getattr(each, name) for each in apart) / 2
        torch.testing.assert_close(getattr(found, name), mean)
    assert nothing.real_mean.isnan() and nothing.real_share.isnan() and nothing.fake_mean == 1


def test_statistics_cost_no_call_of_a_kernel_more(monkeypatch):
    """The loss's own kernel forms them: one call of the backend, whichever it is."""
    calls = []
    with ganfast.backend(*BACKENDS):
        kernels = _dispatch.serve("discriminator_loss", (torch.ones(5),))
        for name in _dispatch.OPS["discriminator_loss"].functions:
            own = getattr(kernels, name)
            counted = partial(lambda name, own, *a: (calls.append(name), own(*a))[1], name, own)
            monkeypatch.setattr(kernels, name, counted)
        GF.discriminator_loss(torch.ones(5), torch.ones(5), return_statistics=True)
    assert calls == ["adversarial_loss"]


def test_statistics_in_transforms_and_compilation():
    real, fake = logits(6, 6, torch.float32)
    expected = GF.discriminator_loss(real, fake, return_statistics=True)

    def loss(real, fake):
        return GF.discriminator_loss(real, fake, return_statistics=True)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(real, fake), expected)
    mapped = torch.func.vmap(loss)(torch.stack((real, real)), torch.stack((fake, fake)))
    torch.testing.assert_close(mapped.gap[1], expected.gap)


def test_no_statistics_without_a_sum():
    with pytest.raises(ValueError, match=r"^return_statistics: got True with reduction='none'"):
        GF.discriminator_loss(
            torch.ones(2), torch.ones(2), reduction="none", return_statistics=True
        )
    with pytest.raises((TypeError, ValueError), match="^return_statistics: got 'yes'"):
        GF.discriminator_loss(torch.ones(2), torch.ones(2), return_statistics="yes")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("statistics", [False, True])
def test_esrgans_discriminator_detaches_the_means(dtype, statistics):
    """BasicSR's two backward passes for ESRGAN, each with the other side's mean as a constant."""
    real, fake = logits(9, 12, dtype)
    bce = F.binary_cross_entropy_with_logits

    def basicsr(real, fake):
        of_real, of_fake = real - fake.detach().mean(), fake - real.detach().mean()
        return (
            bce(of_real, torch.ones_like(of_real)) + bce(of_fake, torch.zeros_like(of_fake))
        ) / 2

    def own(real, fake, **options):
        found = GF.discriminator_loss(
            real, fake, game="ragan", return_statistics=statistics, **options
        )
        return 0.5 * (found.loss if statistics else found)

    got = outcomes(partial(own, detach_means=True), real, fake)
    exact = outcomes(basicsr, real.double(), fake.double())
    for mine, theirs, right in zip(got, outcomes(basicsr, real, fake), exact, strict=True):
        assert_as_good_as_torch(mine, theirs, right, size=1.0)
    attached = outcomes(own, real.double(), fake.double())
    torch.testing.assert_close(attached[0], exact[0])
    assert not torch.allclose(attached[1], exact[1], rtol=1e-2), "or this test could not fail"


def test_esrgans_generator_is_half_of_ours():
    real, fake = (x.double() for x in logits(9, 9, torch.float32))
    bce = F.binary_cross_entropy_with_logits

    def basicsr(real, fake):
        of_real, of_fake = real.detach() - fake.mean(), fake - real.detach().mean()
        return (
            bce(of_real, torch.zeros_like(of_real)) + bce(of_fake, torch.ones_like(of_fake))
        ) / 2

    a, b = (fake.clone().requires_grad_() for _ in range(2))
    own, theirs = 0.5 * GF.generator_loss(a, real=real, game="ragan"), basicsr(real, b)
    torch.testing.assert_close(own, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(v, x)[0] for v, x in ((own, a), (theirs, b))))


@pytest.mark.parametrize("game", ["hinge", "relativistic"])
def test_detached_means_belong_to_the_game_of_means(game):
    x = torch.ones(3)
    with pytest.raises(ValueError, match="detach_means: got True, but game"):
        GF.discriminator_loss(x, x, game=game, detach_means=True)
    with pytest.raises(TypeError, match="detach_means: got 1"):
        GF.discriminator_loss(x, x, game="ragan", detach_means=1)
