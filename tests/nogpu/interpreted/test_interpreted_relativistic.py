"""Differences of pairs, and the statistics beside a loss, through the backend's own functions."""

import pytest
import torch
from oracle import DEVICE, DTYPES, TINY, Case, check, run

from ganfast import reference
from ganfast.backends.triton import losses as backend
from ganfast.games import PHIS, REDUCTIONS, LossSpec


def logits_of(sizes, dtype, seed=0):
    source = torch.Generator().manual_seed(seed)
    return tuple(2.0 * torch.randn(n, generator=source).to(DEVICE, dtype) for n in sizes)


def pairs(heads, reduction, phi="cross_entropy", statistics=False):
    return LossSpec(
        PHIS[phi], (1.0,) * heads, heads, reduction, compares="pairs", statistics=statistics
    )


def grads_of(spec, logits, dtype):
    if spec.reduction != "none":
        return (torch.tensor(-1.7, dtype=dtype, device=DEVICE),)
    return tuple(torch.randn(x.shape).to(x) for x in logits[: spec.heads])


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("phi", ["cross_entropy", "half_square"])
def test_dtypes(phi, reduction, dtype):
    logits = logits_of((1025, 1025), dtype)
    spec = pairs(1, reduction, phi)
    check(Case(logits, spec, None, dtype), grads_of(spec, logits, dtype))


@pytest.mark.parametrize("sizes", [(1,), (4097,), (1024, 31), (7, 2100, 5, 64, 3)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_sizes_and_heads(sizes, reduction):
    """Five pairs are ten tensors: more than one launch takes."""
    spec, logits = pairs(len(sizes), reduction), logits_of(sizes * 2, torch.float32)
    check(Case(logits, spec, None, torch.float32), grads_of(spec, logits, torch.float32))


@pytest.mark.parametrize("needed", [(True, False), (False, True), (False, False)], ids=str)
def test_only_what_is_needed_is_given(needed):
    logits, spec = logits_of((40, 40), torch.float32), pairs(1, "mean")
    case = Case(logits, spec, None, torch.float32)
    grads = grads_of(spec, logits, torch.float32)
    both = run(backend, case, grads)[1]
    for one, all_, need in zip(run(backend, case, grads, needed)[1], both, needed, strict=True):
        assert (one is not None) == need
        assert not need or torch.equal(one, all_)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("sizes", [(5, 31), (4097, 1025), (3000,) * 4, (7, 2100, 5, 64, 3) * 2])
@pytest.mark.parametrize("compares", ["", "pairs"])
def test_statistics(compares, sizes, dtype):
    """In one program, in many, and over two launches; the loss beside them is the same bits."""
    heads = len(sizes) // 2
    if compares:
        sizes = sizes[:heads] * 2
        spec = pairs(heads, "mean", statistics=True)
        alone = pairs(heads, "mean")
    else:
        targets = (1.0,) * heads + (0.0,) * heads
        alone = LossSpec(PHIS["cross_entropy"], targets, heads, "sum")
        spec = LossSpec(PHIS["cross_entropy"], targets, heads, "sum", statistics=True)
    logits = logits_of(sizes, dtype)
    statistics = torch.full((5,), torch.nan, device=DEVICE)
    statistics = statistics.to(reference.losses.accumulation_dtype(dtype))
    loss = backend.adversarial_loss(logits, spec, None, dtype, statistics)
    assert torch.equal(loss, backend.adversarial_loss(logits, alone, None, dtype))
    exact = reference.losses.loss_statistics([x.double() for x in logits], spec)
    error = (statistics.double() - exact).abs().max()
    assert error <= 8 * TINY[statistics.dtype] and exact.unique().numel() == 5
