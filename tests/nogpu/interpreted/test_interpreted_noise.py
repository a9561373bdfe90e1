"""The targets that the kernels draw are those of the reference."""

import pytest
import torch
from oracle import DEVICE, Case, check, run

from ganfast import reference
from ganfast.backends.triton import losses as backend
from ganfast.backends.triton.launch import INTERPRETED
from ganfast.games import PHIS, LossSpec

KEYS = [0, 5, 2**31, 2**32 + 1, 0x123456789ABCDEF0, 2**63 - 1, -3]


def drawn(sizes, spec, key, dtype):
    """The slope of (x - t)^2 / 2 at x = 0 is -t."""
    zeros = tuple(torch.zeros(n, dtype=dtype, device=DEVICE) for n in sizes)
    _, slopes = run(
        backend, Case(zeros, spec, key, dtype), (torch.ones((), dtype=dtype, device=DEVICE),)
    )
    return [-slope for slope in slopes], zeros


def same(target, expected):
    if INTERPRETED:
        return torch.equal(target, expected)
    # The hardware fuses the last multiplication and addition: one rounding less.
    return torch.allclose(target, expected, rtol=0, atol=torch.finfo(target.dtype).eps)


@pytest.mark.parametrize(
    "rates", [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)], ids=["flip", "noise", "both"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_targets(dtype, rates):
    spec = LossSpec(PHIS["half_square"], (0.9, 0.0), 1, "sum", *rates)
    targets, zeros = drawn((1025, 31), spec, 0x123456789ABCDEF0, dtype)
    for index, (target, x) in enumerate(zip(targets, zeros, strict=True)):
        assert same(target, reference.losses.targets(x, spec, index, 0x123456789ABCDEF0))
        assert target.unique().numel() > 1


@pytest.mark.parametrize("in_memory", [False, True], ids=["int", "tensor"])
@pytest.mark.parametrize("key", KEYS)
def test_keys(key, in_memory):
    if in_memory:
        key = torch.tensor(key, device=DEVICE)
    spec = LossSpec(PHIS["half_square"], (1.0,), 1, "sum", 0.5, 0.1)
    (target,), (x,) = drawn((65,), spec, key, torch.float32)
    assert same(target, reference.losses.targets(x, spec, 0, key))


def test_streams_keep_their_numbers_over_launches():
    """Ten tensors are two launches; each draws from the stream of its own position."""
    spec = LossSpec(PHIS["half_square"], (0.9,) * 5 + (0.0,) * 5, 5, "none", 0.4, 0.1)
    zeros = tuple(torch.zeros(n, device=DEVICE) for n in (4, 0, 7, 1, 9, 2, 33, 5, 6, 8))
    needed = (True, True, False, True, True, False, True, True, True, True)
    grads = tuple(torch.ones_like(x) for x in zeros)
    _, slopes = run(backend, Case(zeros, spec, 77, torch.float32), grads, needed)
    for index, (x, need, slope) in enumerate(zip(zeros, needed, slopes, strict=True)):
        if need:
            assert same(-slope, reference.losses.targets(x, spec, index, 77))
        else:
            assert slope is None


@pytest.mark.parametrize("phi", ["cross_entropy", "half_square"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_losses_with_noise(phi, reduction):
    spec = LossSpec(PHIS[phi], (0.9, 0.0), 1, reduction, 0.2, 0.1)
    generator = torch.Generator().manual_seed(0)
    logits = tuple(torch.randn(n, generator=generator).to(DEVICE) for n in (1025, 31))
    grads = logits if reduction == "none" else (torch.tensor(0.3, device=DEVICE),)
    check(Case(logits, spec, 123, torch.float32), grads)
