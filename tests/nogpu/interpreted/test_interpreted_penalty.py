"""The kernels of the interpolation and the penalty against the reference."""

from itertools import cycle, product

import pytest
import torch
from oracle import DEVICE, DTYPES, TINY

import ganfast.functional as GF
from ganfast import _dispatch, reference
from ganfast.backends.triton import penalty as backend
from ganfast.reference.penalty import PenaltySpec

KEY = 0x123456789ABCDEF0
SHAPES = [(1,), (5, 1), (40, 2), (2, 31, 33), (2, 1024), (2, 4100)]
SPECS = {
    "two-sided": PenaltySpec(1.0, False, 10.0, 1),
    "one-sided": PenaltySpec(2.0, True, 1.0, 1),
    "zero-centred": PenaltySpec(0.0, False, 5.0, 1),
}


def normal(*shape, dtype=torch.float32, seed=0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.to(dtype).to(DEVICE)


def compare(got, torch_got, oracle, size):
    """error(kernel) <= 2 * error(torch, same dtype) + TINY * size."""
    error = (got.double() - oracle).abs().max()
    torch_error = (torch_got.double() - oracle).abs().max()
    assert got.shape == oracle.shape and got.isfinite().all()
    assert error <= 2 * torch_error + TINY[got.dtype] * float(size) + 1e-37, (error, torch_error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_interpolation(shape, dtype):
    real, fake, grad = (normal(*shape, dtype=DTYPES[dtype], seed=seed) for seed in range(3))
    eps = reference.penalty.epsilon(real.double(), KEY, 1)
    size = real.abs().max() + fake.abs().max() + grad.abs().max()
    for key in (KEY, torch.tensor(KEY, device=DEVICE)):
        compare(
            backend.interpolate(real, fake, key, 1),
            reference.penalty.interpolate(real, fake, KEY, 1),
            eps * real.double() + (1 - eps) * fake.double(),
            size,
        )
    for needed in [(True, True), (True, False), (False, True)]:
        got = backend.interpolate_gradient(grad, KEY, 1, needed)
        torchs = reference.penalty.interpolate_gradient(grad, KEY, 1, needed)
        for ours, theirs, scale, need in zip(got, torchs, (eps, 1 - eps), needed, strict=True):
            assert (ours is not None) == need
            if need:
                compare(ours, theirs, scale * grad.double(), size)


@pytest.mark.parametrize("group", [1, 2, 3, 6])
@pytest.mark.parametrize(
    ("length", "key"), [*((2, key) for key in (0, 5, 2**31, 2**32 + 1, -3)), (1030, 2**63 - 1)]
)
def test_eps_is_the_references(length, key, group):
    ones, zeros = torch.ones(6, length, device=DEVICE), torch.zeros(6, length, device=DEVICE)
    expected = reference.penalty.epsilon(ones, key, group).expand(6, length)
    assert torch.equal(backend.interpolate(ones, zeros, key, group), expected)


# Every length in every dtype; the three specifications, a line of the kernel each, take turns.
ROWS = list(zip(product(SHAPES, DTYPES), cycle(SPECS), strict=False))


@pytest.mark.parametrize(("row", "spec"), ROWS)
def test_penalty(row, spec):
    shape, dtype = row
    check_penalty(shape, SPECS[spec], dtype)


def check_penalty(shape, spec, dtype):
    x, v = (normal(*shape, dtype=DTYPES[dtype], seed=seed) for seed in range(2))
    if len(x) > 1:
        x[0] = 0
    wide = x.double()
    value, norms = backend.penalty(x, spec)
    torchs, oracle = reference.penalty.penalty(x, spec), reference.penalty.penalty(wide, spec)
    top = oracle[1].max()
    compare(value, torchs[0], oracle[0], spec.weight * (top + spec.target) ** 2)
    compare(norms, torchs[1], oracle[1], top)
    grad = torch.full_like(value, 0.7)
    arguments = (grad, x, norms, spec), (grad.double(), wide, oracle[1], spec)
    oracle = reference.penalty.penalty_gradient(*arguments[1])
    got = backend.penalty_gradient(*arguments[0])
    compare(got, reference.penalty.penalty_gradient(*arguments[0]), oracle, 4 * oracle.abs().max())
    assert got.dtype == x.dtype
    oracle = reference.penalty.penalty_second_order(v.double(), *arguments[1])
    got = backend.penalty_second_order(v, *arguments[0])
    torchs = reference.penalty.penalty_second_order(v, *arguments[0])
    sizes = 2 * spec.weight * v.double().norm() * wide.norm(), 8 * oracle[1].abs().max()
    for ours, theirs, truth, size in zip(got, torchs, oracle, sizes, strict=True):
        compare(ours, theirs, truth, size)


def test_many_programs_for_short_rows():
    x = normal(1500, 2)
    got, expected = (m.penalty(x, SPECS["two-sided"]) for m in (backend, reference.penalty))
    torch.testing.assert_close(got, expected, rtol=2e-6, atol=0)
    one = torch.ones((), device=DEVICE)
    slopes = (
        m.penalty_gradient(one, x, got[1], SPECS["two-sided"]) for m in (backend, reference.penalty)
    )
    torch.testing.assert_close(*slopes, rtol=2e-6, atol=1e-8)


def test_many_programs_for_a_row(monkeypatch):
    """Several blocks for each program, the last of them cut short or missing."""
    monkeypatch.setattr("ganfast.backends.triton.penalty.MAX_PROGRAMS", 6)
    for length in (1025, 5 * 1024, 7 * 1024 + 3, 9 * 1024 + 1):
        x = normal(3, length)
        got, expected = (m.penalty(x, SPECS["two-sided"]) for m in (backend, reference.penalty))
        torch.testing.assert_close(got, expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    ("shape", "programs"), [((3, 5 * 1024), 6), ((2, 7 * 1024 + 3), 6), ((2, 9 * 1024 + 5), 4096)]
)
def test_the_second_order_of_rows_that_programs_share(shape, programs, spec, dtype, monkeypatch):
    monkeypatch.setattr("ganfast.backends.triton.penalty._ROW_OF_ONE", 0)
    monkeypatch.setattr("ganfast.backends.triton.penalty.MAX_PROGRAMS", programs)
    check_penalty(shape, SPECS[spec], dtype)


def test_half_precision_does_not_overflow():
    x = torch.full((4, 5000), 6e4, dtype=torch.float16, device=DEVICE)
    value, norms = backend.penalty(x, SPECS["two-sided"])
    expected = reference.penalty.penalty(x.double(), SPECS["two-sided"])
    torch.testing.assert_close(value.double(), expected[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("shape", [(6, 4), (4, 3, 20, 18)])
def test_through_autograd_in_any_layout(shape):
    real, fake = normal(*shape), normal(*shape, seed=1)
    views = [real, real.movedim(0, -1).contiguous().movedim(-1, 0), real.movedim(1, -1)]
    if real.dim() == 4:
        views.append(real.to(memory_format=torch.channels_last))
    for x in views:
        y = fake if x.shape == fake.shape else fake.movedim(1, -1)
        results = []
        for name in ("triton", "reference"):
            leaf = x.detach().requires_grad_()
            with _dispatch.backend(name):
                source = torch.Generator().manual_seed(1)
                points = GF.interpolate(leaf, y, group_size=2, generator=source)
                value = GF.penalty_from_gradient(points, target=2.0, group_size=2)
                (g,) = torch.autograd.grad(value, leaf, create_graph=True)
                (second,) = torch.autograd.grad(g, leaf, y)
            results.append((value.detach(), g.detach(), second))
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
