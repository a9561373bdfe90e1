"""Values and first gradients of every loss, backend and dtype against the reference in float64."""

from __future__ import annotations

import pytest
import torch
import truth
from truth import DTYPES, EXTREMES, LOSSES, OUTCOMES, SIZES, assert_as_good_as_torch, run

import ganfast
import ganfast.functional as GF
from ganfast.games import GAMES, REDUCTIONS

BACKENDS = truth.backends()


def compare(loss, backend, real, fake, **options):
    """Value and gradients of a reduced loss on ``backend``, by the rule of truth.py."""
    wide = [x.double() for x in (real, fake)]
    with ganfast.backend("reference"):
        expected = run(loss, *wide, **options)
        same_dtype = run(loss, real, fake, **options)
        terms = loss(
            *wide, reduction="none", **{k: v for k, v in options.items() if k != "reduction"}
        )
    with ganfast.backend(backend):
        got = run(loss, real, fake, **options)
    terms = terms if isinstance(terms, tuple) else (terms,)
    sizes = [
        sum(t.abs().mean() if options.get("reduction") != "sum" else t.abs().sum() for t in terms)
    ]
    # A slope is a difference of numbers up to 1 + |x| (or an exponential), weighted like the loss.
    for x, gradient in zip(wide, expected[1:], strict=True):
        weight = 1 if options.get("reduction") == "sum" else 1 / max(1, x.numel())
        sizes.append((1 + x.abs()) * weight + gradient.abs())
    for found in zip(got, same_dtype, expected, sizes, OUTCOMES, strict=True):
        assert_as_good_as_torch(*found)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_reduced(name, dtype, backend):
    for n in SIZES:
        for reduction in ("mean", "sum"):
            real, fake = 3 * torch.randn(n, 1), 3 * torch.randn(n + 3)
            compare(LOSSES[name], backend, real.to(dtype), fake.to(dtype), reduction=reduction)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("game", [name for name, row in GAMES.items() if row.soft_labels])
def test_soft_labels(game, dtype, backend):
    real, fake = (3 * torch.randn(n).to(dtype) for n in (2500, 1500))
    for s in (0.1, 0.5, 0.99):
        compare(LOSSES[f"{game} D"], backend, real, fake, label_smoothing=s)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_unreduced_at_extremes(name, dtype, backend):
    """+-1e4, inf, nan, -0.0 and the hinge's kink; 1e4 is finite in every dtype."""
    x = torch.tensor(EXTREMES + tuple(torch.linspace(-12, 12, 97).tolist()), dtype=torch.float64)
    x = x.to(dtype)
    grad = torch.randn(len(x), dtype=torch.float64).to(dtype)

    def both(x, grad):
        real, fake = x.clone().requires_grad_(), x.clone().requires_grad_()
        out = LOSSES[name](real, fake, reduction="none")
        outs = out if isinstance(out, tuple) else (out,)
        inputs = (real, fake)[-len(outs) :]
        gradients = torch.autograd.grad(outs, inputs, [grad] * len(outs))
        return [t.detach() for t in (*outs, *gradients)]

    with ganfast.backend("reference"):
        expected, same_dtype = both(x.double(), grad.double()), both(x, grad)
    with ganfast.backend(backend):
        got = both(x, grad)
    for i, (a, b, c) in enumerate(zip(got, same_dtype, expected, strict=True)):
        size = c.abs().nan_to_num(0, 0, 0)
        if i >= len(got) // 2:
            size = size + grad.double().abs()  # slopes are differences of numbers up to 1
        assert_as_good_as_torch(a, b, c, size, "gradient" if i >= len(got) // 2 else "value")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
def test_exact_limits(backend, dtype):
    """Where the limit is a number, it is that number, not one near it."""
    big, inf = 1e4, float("inf")
    x = torch.tensor([big, -big, inf, -inf], dtype=dtype)
    with ganfast.backend(backend):
        real, fake = GF.discriminator_loss(x, x, game="nonsaturating", reduction="none")
        saturating = GF.generator_loss(x, game="minimax", reduction="none")
        likelihood = GF.generator_loss(x, game="maximum_likelihood", reduction="none")
    rounded = float(x[0])
    assert real.tolist() == [0, rounded, 0, inf]
    assert fake.tolist() == [rounded, 0, inf, 0]
    assert saturating.tolist() == [-rounded, 0, -inf, 0]
    assert likelihood.tolist() == [-inf, 0, -inf, 0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LOSSES)
def test_layouts(name, backend):
    """Slices, transposes, expanded and channels_last tensors, and gradients shaped like them."""
    base = torch.randn(6, 4, 10, 12)
    for view in (
        base[:, 1:3, ::2, 3:],
        base.permute(3, 1, 0, 2),
        base.contiguous(memory_format=torch.channels_last),
        base[:1, :, :1].expand(6, 4, 10, 12),
        base.mT,
        torch.view_as_complex(torch.stack((base, base), -1)).conj().imag,  # negated when it is read
        torch.randn(1, dtype=torch.complex64).conj().imag,
    ):
        for reduction in REDUCTIONS:

            def result(real, fake, reduction=reduction):
                real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
                out = LOSSES[name](real, fake, reduction=reduction)
                outs = out if isinstance(out, tuple) else (out,)
                total = sum((o * torch.linspace(0, 1, o.numel()).view(o.shape)).sum() for o in outs)
                gradients = torch.autograd.grad(total, (real, fake), allow_unused=True)
                return [*outs, *(g for g in gradients if g is not None)]

            with ganfast.backend(backend):
                got = result(view, view)
            plain = view.resolve_neg().clone()
            with ganfast.backend("reference"):
                expected = result(plain, plain)
                terms = LOSSES[name](plain, plain, reduction="none")
            terms = terms if isinstance(terms, tuple) else (terms,)
            # A sum in float32 is off by eps times the terms, however little of them is left.
            size = sum(float(getattr(t.abs(), reduction)()) for t in terms if reduction != "none")
            for a, b in zip(got, expected, strict=True):
                assert a.shape == b.shape
                torch.testing.assert_close(a, b, rtol=1.3e-6, atol=max(1e-5, 1.3e-6 * size))


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("name", LOSSES)
def test_heads(name, backend):
    """A list of heads is the mean over heads of each head's loss, gradients included."""
    shapes = [(4, 1, 30, 30), (4, 1, 14, 14), (5, 7)]
    reals = [torch.randn(s, requires_grad=True) for s in shapes]
    fakes = [torch.randn(s, requires_grad=True) for s in shapes]
    with ganfast.backend(backend):
        for reduction in ("mean", "sum"):
            joint = LOSSES[name](reals, fakes, reduction=reduction)
            apart = sum(
                LOSSES[name](r, f, reduction=reduction) for r, f in zip(reals, fakes, strict=True)
            ) / len(shapes)
            torch.testing.assert_close(joint, apart)
            one, two = (
                torch.autograd.grad(t, reals + fakes, allow_unused=True) for t in (joint, apart)
            )
            for a, b in zip(one, two, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    torch.testing.assert_close(a, b)
        unreduced = LOSSES[name](reals, tuple(fakes), reduction="none")
        single = LOSSES[name](reals[1], fakes[1], reduction="none")
    if name.endswith("D"):
        assert [[t.shape for t in side] for side in unreduced] == [[r.shape for r in reals]] * 2
        torch.testing.assert_close((unreduced[0][1], unreduced[1][1]), single)
    else:
        torch.testing.assert_close(unreduced[1], single)


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("name", LOSSES)
def test_empty(name, backend):
    """Nothing sums to zero, with a gradient of nothing; the other side still counts."""
    empty, one = torch.empty(0, 3, requires_grad=True), torch.full((1,), 2.0, requires_grad=True)
    with ganfast.backend(backend):
        assert LOSSES[name](empty, empty, reduction="sum") == 0
        out = LOSSES[name](empty, empty, reduction="none")
        assert all(t.shape == (0, 3) for t in (out if isinstance(out, tuple) else (out,)))
        total = LOSSES[name](empty, one, reduction="sum")
        assert total == LOSSES[name](torch.empty(0), torch.full((1,), 2.0), reduction="sum")
        (gradient,) = torch.autograd.grad(total, one)
        assert gradient.shape == (1,)


def test_autocast_returns_float32_for_half_precision():
    """As torch's own losses do under autocast; the gradient keeps the logits' dtype."""
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.randn(100).to(dtype).requires_grad_()
        for name, loss in LOSSES.items():
            assert loss(x, x).dtype == dtype
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = loss(x, x)
            assert value.dtype == torch.float32, name
            (gradient,) = torch.autograd.grad(value, x)
            assert gradient.dtype == dtype
            exact = loss(x.detach().double(), x.detach().double())
            torch.testing.assert_close(value.detach().double(), exact, rtol=1e-6, atol=1e-6)
