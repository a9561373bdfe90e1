"""Every game, dtype and reduction, values and gradients, through the backend's own functions."""

import pytest
import torch
import triton
import triton.language as tl
from oracle import DEVICE, DTYPES, TINY, Case, check, compare, run

from ganfast import reference
from ganfast.backends.triton import losses as backend
from ganfast.backends.triton.kernels.blocks import find
from ganfast.games import GAMES, PHIS, REDUCTIONS, LossSpec

SMOOTHING = 0.1


def spec_of(game, player, heads=1, reduction="mean", **noise):
    row = GAMES[game]
    if player == "generator":
        return LossSpec(PHIS[row.generator], (row.generator_target,) * heads, heads, reduction)
    real = 1.0 - SMOOTHING * row.soft_labels
    targets = (real,) * heads + (0.0,) * heads
    return LossSpec(PHIS[row.discriminator], targets, heads, reduction, **noise)


def logits_of(sizes, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # Up to about 8: exp(x) of the maximum-likelihood game stays in the range of float16.
    return tuple(2.0 * torch.randn(n, generator=generator).to(DEVICE, dtype) for n in sizes)


def grads_of(spec, logits, dtype, seed=1):
    generator = torch.Generator().manual_seed(seed)
    if spec.reduction == "none":
        return tuple(torch.randn(x.shape, generator=generator).to(x) for x in logits)
    return (torch.tensor(-1.7, dtype=dtype, device=DEVICE),)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("game", GAMES)
def test_games(game, player, reduction, dtype):
    spec = spec_of(game, player, reduction=reduction)
    logits = logits_of((1025, 31)[: len(spec.targets)], dtype)
    check(Case(logits, spec, None, dtype), grads_of(spec, logits, dtype))


SIZES = [(n, reduction) for n in (1, 31, 1024, 1025, 4097) for reduction in REDUCTIONS]
SIZES += [(0, "sum"), (0, "none")]  # the mean of nothing is refused before it comes here


@pytest.mark.parametrize("game", ["nonsaturating", "hinge"])
@pytest.mark.parametrize(("n", "reduction"), SIZES)
def test_sizes(n, reduction, game):
    spec = spec_of(game, "discriminator", reduction=reduction)
    logits = logits_of((n, 5), torch.float32)
    check(Case(logits, spec, None, torch.float32), grads_of(spec, logits, torch.float32))


@pytest.mark.parametrize("heads", [2, 3, 5])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_heads(heads, reduction):
    """Five heads are ten tensors: more than one launch takes."""
    spec = spec_of("nonsaturating", "discriminator", heads, reduction)
    logits = logits_of((1025, 31, 1, 1024, 7, 2100, 5, 64, 3, 1)[: 2 * heads], torch.float32)
    check(Case(logits, spec, None, torch.float32), grads_of(spec, logits, torch.float32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("game", GAMES)
def test_half_precision_is_computed_in_float32(game, dtype):
    """As under autocast: a float32 result of half-precision logits."""
    spec = spec_of(game, "discriminator")
    logits = logits_of((1025, 31), dtype)
    check(Case(logits, spec, None, torch.float32), None)


KINK = (-1.0, 1.0)
EXTREMES = (
    0.0,
    -0.0,
    *KINK,
    1e4,
    -1e4,
    float("inf"),
    float("-inf"),
    float("nan"),
    60.0,
    -60.0,
    90.0,
)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("target", [0.0, 1.0, 0.9])
@pytest.mark.parametrize("phi", PHIS)
def test_extremes(phi, target, dtype):
    """Element by element, so that nothing large hides what is small; with the kinks of hinge."""
    x = torch.tensor(EXTREMES, device=DEVICE).to(dtype)
    spec = LossSpec(PHIS[phi], (target,), 1, "none")
    (got,), (slope,) = run(backend, Case((x,), spec, None, dtype), (torch.ones_like(x),))
    (torch_got,), (torch_slope,) = run(
        reference.losses, Case((x,), spec, None, dtype), (torch.ones_like(x),)
    )
    wide = Case((x.double(),), spec, None, torch.float64)
    (oracle,), (oracle_slope,) = run(reference.losses, wide, (torch.ones_like(x).double(),))
    for i in range(len(EXTREMES)):
        # A soft target is rounded: a small slope is then a difference of numbers up to 1, and a
        # value is uncertain by what its slope makes of that.
        soft = target not in (0.0, 1.0)
        moved = (oracle_slope[i] * x[i]).abs().nan_to_num(0, 0, 0) * soft
        compare(got[i], torch_got[i], oracle[i], oracle[i].abs().max(moved), f"value at {x[i]}")
        size = oracle_slope[i].abs().clamp(min=float(soft))
        compare(slope[i], torch_slope[i], oracle_slope[i], size, f"slope at {x[i]}")


@pytest.mark.parametrize("phi", PHIS)
def test_nan_in_nan_out(phi):
    x = torch.zeros(40, device=DEVICE)
    x[33] = float("nan")
    for reduction in ("mean", "sum"):
        (value,), _ = run(
            backend, Case((x,), LossSpec(PHIS[phi], (0.0,), 1, reduction), None, x.dtype)
        )
        assert value.isnan()


def test_relative_accuracy_of_the_cross_entropy():
    """softplus keeps its digits in the tail, where log(1 + exp(-x)) would have none."""
    x = torch.linspace(0, 80, 2000, device=DEVICE)
    spec = LossSpec(PHIS["cross_entropy"], (1.0,), 1, "none")
    (got,), (slope,) = run(backend, Case((x,), spec, None, x.dtype), (torch.ones_like(x),))
    oracle = torch.nn.functional.softplus(-x.double())
    bound = 2e-7 + TINY[torch.float32]
    assert ((got - oracle) / oracle).abs().max() < bound
    assert ((slope + torch.sigmoid(-x.double())) / torch.sigmoid(-x.double())).abs().max() < bound
    (got,), (slope,) = run(
        backend, Case((x.double(),), spec, None, torch.float64), (torch.ones_like(oracle),)
    )
    exact = torch.log1p(torch.exp(-x.double()))
    assert ((got - exact) / exact).abs().max() < 1e-15


def test_only_the_gradients_that_are_needed():
    spec = spec_of("nonsaturating", "discriminator", 2)
    logits = logits_of((31, 5, 1025, 8), torch.float32)
    grads = grads_of(spec, logits, torch.float32)
    whole = run(backend, Case(logits, spec, None, torch.float32), grads)[1]
    for needed in [(False, True, False, True), (True, False, False, False), (False,) * 4]:
        some = run(backend, Case(logits, spec, None, torch.float32), grads, needed)[1]
        for need, part, full in zip(needed, some, whole, strict=True):
            assert (part is None) if not need else torch.equal(part, full)


def test_strides():
    """Slices, transposes, expanded tensors, a pending negation; also in what comes from above."""
    base = logits_of((4096,), torch.float32)[0].reshape(64, 64)
    negative = torch.complex(base[0], base[1]).conj().imag
    assert negative.is_neg() and negative[:1].is_contiguous()
    views = (base[::3, 1::2], base.t(), base[:, :1].expand(64, 40), negative, negative[:1])
    spec = LossSpec(PHIS["half_square"], (0.25,) * 5, 5, "none")
    up = logits_of((64,), torch.float32, seed=3)[0]
    grads = (up[:1].expand(22, 32), base.t(), up[:, None].expand(64, 40), -negative, negative[:1])
    check(Case(views, spec, None, torch.float32), grads)


@pytest.mark.parametrize("programs", [1, 3])
def test_programs_of_several_blocks(monkeypatch, programs):
    """What large tensors do, on small ones: several blocks for each program."""
    monkeypatch.setattr("ganfast.backends.triton.losses.MAX_PROGRAMS", programs)
    monkeypatch.setattr("ganfast.backends.triton.losses._SINGLE", 0)
    for sizes in [(4097, 3), (2048, 9000), (1, 1)]:
        spec = spec_of("nonsaturating", "discriminator")
        check(Case(logits_of(sizes, torch.float32), spec, None, torch.float32))


@triton.jit
def where(out, n0: tl.int64, n1: tl.int64, n2: tl.int64, program: tl.int64):
    xs = (out, out, out, None, None, None, None, None)
    ns = (n0, n1, n2, n0, n0, n0, n0, n0)
    index, chunk = find(program, 10, xs, ns)
    tl.store(out, index)
    tl.store(out + 1, chunk * 1024)


def test_indices_beyond_int32():
    out = torch.zeros(2, dtype=torch.int64, device=DEVICE)
    counts = (2**31 + 5, 0, 3 * 2**32 + 1)
    first = 2**21 + 1  # programs of the first tensor
    for program, expected in [
        (first - 1, (0, 2**31)),
        (first, (1, 0)),
        (first + 1, (2, 0)),
        (first + 1 + 3 * 2**22, (2, 3 * 2**32)),
    ]:
        where[(1,)](out, *counts, program)
        assert tuple(out.tolist()) == expected


def test_what_has_no_memory_is_refused():
    """torch's own derivatives hand efficient zero tensors to backward; they lie at address 0."""
    from ganfast.backends.triton import losses
    from ganfast.errors import Refusal

    spec = spec_of("nonsaturating", "generator")
    logits = (torch.randn(5, device=DEVICE),)
    zero = torch._efficientzerotensor((), device=DEVICE)
    with pytest.raises(Refusal, match="no memory"):
        losses.adversarial_loss_gradient((zero,), logits, spec, None, (True,))
