"""The batch kernels: right on every instruction set, and the same bits however they are called."""

from __future__ import annotations

import pytest
import torch
import truth
from matrices import graded, gram, special, spectrum, symmetric

import ganfast
from ganfast import _dispatch, reference
from ganfast.linalg import sqrtm, trace_sqrtm
from ganfast.linalg.inputs import TOLERANCE
from testing import gaussians

built = pytest.mark.skipif("cpu" not in truth.backends(), reason="the C++ kernels were not built")
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128)
EPS = torch.finfo(torch.float64).eps


@pytest.fixture(params=["reference", *(["cpu"] if "cpu" in truth.backends() else [])])
def module(request):
    """The reference, and the kernels on each instruction set that this processor runs."""
    with ganfast.backend(request.param):
        yield _dispatch.serve("sqrtm", [torch.empty(0, dtype=torch.float64)])


# ---- values --------------------------------------------------------------------------------------


def check_roots(module, a):
    roots, definite = module.batch_sqrtm(a.contiguous(), TOLERANCE)
    assert roots.shape == a.shape and roots.dtype == a.dtype
    assert definite.shape == a.shape[:1] and definite.dtype == torch.bool and bool(definite.all())
    size = a.abs().amax((-2, -1), keepdim=True)
    n = a.shape[-1]
    assert bool(((roots @ roots - a).abs() <= 8 * EPS * n * size).all())
    assert bool(((roots - roots.mT).abs() <= 4 * EPS * n**0.5 * size.sqrt()).all())
    # Semi-definite: no eigenvalue has the other sign.
    w = torch.linalg.eigvalsh(roots)
    assert bool((w >= -8 * EPS * n * w[..., -1:]).all())
    return roots


@pytest.mark.parametrize("n", SIZES)
def test_roots_of_any_rank(module, n):
    for rank in sorted({1, max(1, n // 2), n, n + 5}):
        check_roots(module, gram(9, rank, n, seed=rank)[0])


@pytest.mark.parametrize("n", [2, 6, 17, 40, 128])
def test_roots_of_difficult_matrices(module, n):
    for a in (spectrum(n) | special(n)).values():
        check_roots(module, a[None])


@pytest.mark.parametrize("n", SIZES)
def test_traces_of_any_rank(module, n):
    """Against the nuclear norm of the samples' product, of which no square was ever taken."""
    b, y = gram(9, n + 3, n, seed=1)
    for rank in sorted({1, max(1, n // 2), n - 1, n + 5} - {0}):
        a, x = gram(9, rank, n, seed=rank + 2)
        for one, other in ((a, b), (b, a)):
            traces, definite = module.batch_trace_sqrtm(one, other, TOLERANCE, TOLERANCE)
            assert traces.dtype == torch.float64 and traces.shape == (9,) == definite.shape
            assert definite.dtype == torch.bool and bool(definite.all())
            expected = torch.linalg.svdvals(x @ y.mT).sum(-1)
            torch.testing.assert_close(traces, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [2, 6, 17, 40, 128])
def test_traces_of_difficult_pairs(module, n):
    """A pair t a t, a has the trace of t a; a pair of equals has its own trace."""
    t = gram(1, 3 * n, n, seed=11)[0][0] + 0.5 * torch.eye(n).double()
    for name, a in (spectrum(n) | special(n)).items():
        own = module.batch_trace_sqrtm(a[None], a[None], TOLERANCE, TOLERANCE)[0]
        torch.testing.assert_close(own[0], a.trace(), rtol=1e-12, atol=0, msg=name)
        moved = symmetric(t @ a @ t)
        for pair in ((a[None], moved[None]), (moved[None], a[None])):
            traces, definite = module.batch_trace_sqrtm(*pair, TOLERANCE, TOLERANCE)
            assert bool(definite.all())
            torch.testing.assert_close(traces[0], (t * a).sum(), rtol=1e-12, atol=0, msg=name)


@pytest.mark.parametrize("n", [4, 20, 90])
def test_traces_of_ranges_that_meet_at_a_small_angle(module, n):
    """Squares of these singular values drown: they are 1e-10, beside others of 1."""
    half = n // 2
    q = gaussians.orthogonal(n, seed=n)
    x = q[:half]
    y = q[half : 2 * half] + 1e-10 * q[:half]
    y[0] = q[0]
    a, b = symmetric(x.mT @ x), symmetric(y.mT @ y)
    traces = module.batch_trace_sqrtm(a[None], b[None], TOLERANCE, TOLERANCE)[0]
    assert float(traces) == pytest.approx(1 + 1e-10 * (half - 1), rel=1e-13)


@built
@pytest.mark.parametrize("n", [2, 9, 40, 128])
def test_graded_roots_have_small_entries_right(n):
    """Where eigh, in the order in which it is given them, may lose half of the digits."""
    a = graded(n)
    d = torch.logspace(0, -8, n, dtype=torch.float64).sqrt()
    with ganfast.backend("cpu"):
        down, up = sqrtm(a), sqrtm(a.flip(0, 1)).flip(0, 1)
        shuffle = torch.randperm(n)
        mixed = sqrtm(a[shuffle][:, shuffle])[shuffle.argsort()][:, shuffle.argsort()]
    torch.testing.assert_close(down, up, rtol=0, atol=1e-13 * float(a.abs().max()))
    torch.testing.assert_close(down, mixed, rtol=0, atol=1e-13 * float(a.abs().max()))
    # The last diagonal entry of a is 1e-16: its root is no noise of the first one.
    error = ((down @ down - a).abs() / (d[:, None] * d)).max()
    assert float(error) <= 1e-12


@pytest.mark.parametrize("n", [3, 8, 33, 128])
def test_every_instruction_set(isa, n):
    a, b = gram(5, n + 2, n, seed=1)[0], gram(5, max(1, n // 3), n, seed=2)[0]
    roots = reference.linalg.batch_sqrtm(a, TOLERANCE)[0]
    traces = reference.linalg.batch_trace_sqrtm(a, b, TOLERANCE, TOLERANCE)[0]
    with ganfast.backend("cpu"):
        module = _dispatch.serve("sqrtm", (a,))
        for matrix in (spectrum(n) | special(n)).values():
            check_roots(module, matrix[None])
        torch.testing.assert_close(check_roots(module, a), roots, rtol=0, atol=1e-10)
        torch.testing.assert_close(trace_sqrtm(a, b), traces, rtol=1e-12, atol=0)
        torch.testing.assert_close(trace_sqrtm(b, a), traces, rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [8, 16, 32, 64])
def test_float32_is_no_worse_than_twice_eigh(n):
    a = gram(20, n + 3, n, seed=1)[0].float()
    exact = reference.linalg.batch_sqrtm(a.double(), TOLERANCE)[0]
    w, v = torch.linalg.eigh(a)
    plain = (v * w.clamp(min=0).sqrt()[..., None, :]) @ v.mT
    root = sqrtm(a)
    assert root.dtype == torch.float32
    assert (root - exact).abs().max() <= 2 * (plain - exact).abs().max()


# ---- what is not definite ------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 32, 100])
def test_indefinite_matrices_are_told_apart(module, n):
    """Just below the tolerance, just above it, far from it, and beside others."""
    q = gaussians.orthogonal(n, seed=1)
    lows = torch.tensor([1.0, -0.9e-5, -1.1e-5, 0.0, -1.0, -1e-18, -3.0]).double()
    w = torch.ones(len(lows), n, dtype=torch.float64)
    w[:, n // 2] = lows
    a = symmetric((q * w[:, None, :]) @ q.mT)
    wanted = torch.tensor([True, n > 1, False, True, False, n > 1, False])
    assert torch.equal(module.batch_sqrtm(a, 1e-5)[1], wanted)
    good = torch.eye(n).double().expand_as(a).contiguous()
    for other in (good, torch.zeros_like(a)):
        assert torch.equal(module.batch_trace_sqrtm(a, other, 1e-5, 1e-5)[1], wanted)
        assert torch.equal(module.batch_trace_sqrtm(other, a, 1e-5, 1e-5)[1], wanted)
    # The two tolerances are each for its own matrix.
    assert bool(module.batch_trace_sqrtm(a, good, 10.0, 0.0)[1].all())
    assert bool(module.batch_trace_sqrtm(good, a, 0.0, 10.0)[1].all())


def test_the_error_names_the_matrix_of_the_batch():
    a = torch.eye(4).double().repeat(6, 1, 1)
    a[4, 2, 2] = -1
    with pytest.raises(ValueError, match="^a: .* not positive .*matrix 4 of the batch:"):
        sqrtm(a)
    with pytest.raises(ValueError, match="^b: .* not positive .*matrix 4 of the batch:"):
        trace_sqrtm(a.abs(), a)


def test_a_negative_zero_diagonal_is_indefinite(module):
    swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    assert not bool(module.batch_sqrtm(swap, TOLERANCE)[1])
    zero = torch.zeros_like(swap)
    assert not bool(module.batch_trace_sqrtm(swap, zero, TOLERANCE, TOLERANCE)[1])
    assert not bool(module.batch_trace_sqrtm(zero, swap, TOLERANCE, TOLERANCE)[1])


# ---- the same bits -------------------------------------------------------------------------------


@built
@pytest.mark.parametrize("n", [1, 3, 8, 17, 64, 128])
def test_bitwise_alone_in_any_place_and_for_any_threads(n):
    count = 40 if n < 64 else 6
    a = torch.cat([gram(count, n + 1, n, seed=1)[0], gram(count, max(1, n // 2), n, seed=2)[0]])
    b = gram(2 * count, n + 2, n, seed=3)[0]
    with ganfast.backend("cpu"):
        with truth.threads(1):
            roots, traces = sqrtm(a), trace_sqrtm(a, b)
        for number in (2, 3):
            with truth.threads(number):
                assert torch.equal(sqrtm(a), roots) and torch.equal(trace_sqrtm(a, b), traces)
        back = torch.arange(2 * count - 1, -1, -1)
        assert torch.equal(sqrtm(a[back]), roots[back])
        assert torch.equal(trace_sqrtm(a[back], b[back]), traces[back])
        for i in range(0, 2 * count, 3):
            assert torch.equal(sqrtm(a[i]), roots[i])
            assert torch.equal(sqrtm(a[i : i + 1])[0], roots[i])
            assert torch.equal(trace_sqrtm(a[i], b[i]), traces[i])
        assert torch.equal(roots, roots.mT)


@built
def test_views_and_leading_dimensions():
    a = gram(6, 9, 7, seed=1)[0]
    with ganfast.backend("cpu"):
        plain = sqrtm(a)
        assert torch.equal(sqrtm(a.view(2, 3, 7, 7)), plain.view(2, 3, 7, 7))
        wide = torch.zeros(6, 7, 20).double()
        wide[..., 4:11] = a
        assert torch.equal(sqrtm(wide[..., 4:11]), plain)
        assert torch.equal(sqrtm(a[::2]), plain[::2])
        assert torch.equal(sqrtm(a[0].expand(3, 7, 7)), plain[:1].expand(3, 7, 7))
        assert torch.equal(trace_sqrtm(a, a[0]), trace_sqrtm(a, a[:1].expand_as(a)))
        assert torch.equal(sqrtm(a.mT), plain)


# ---- which way -----------------------------------------------------------------------------------


def recorded(function, sizes):
    """``function``, which notes the n of the matrices that it is given."""

    def call(a, *rest):
        sizes.append(a.shape[-1])
        return function(a, *rest)

    return call


@built
def test_no_size_is_left_out_and_large_ones_go_to_torch(monkeypatch):
    from ganfast.backends.cpu import linalg

    taken = []
    for name in ("batch_sqrtm", "batch_trace_sqrtm"):
        monkeypatch.setattr(linalg, name, recorded(getattr(linalg, name), taken))
    for op in ("sqrtm", "trace_sqrtm"):
        limit = _dispatch.serve(op, [torch.empty(0).double()]).BATCH_LIMIT[op]
        assert limit >= 32
        taken.clear()
        for n in (1, limit, limit + 1):
            a = gram(2, n + 1, n, seed=1)[0]
            if op == "sqrtm":
                root = sqrtm(a)
                torch.testing.assert_close(root @ root, a, rtol=0, atol=1e-12)
            else:
                torch.testing.assert_close(trace_sqrtm(a, a), a.diagonal(dim1=1, dim2=2).sum(-1))
        assert taken == [1, limit]


@built
@pytest.mark.parametrize("n", [3, 30])
def test_what_does_not_converge_goes_to_the_reference(monkeypatch, n):
    from ganfast.backends.cpu import linalg

    a, b = gram(4, n + 1, n, seed=1)[0], gram(4, n + 1, n, seed=2)[0]
    a[2] = torch.eye(n)  # needs no sweep
    asked = []

    for name in ("batch_sqrtm", "batch_trace_sqrtm"):
        monkeypatch.setattr(
            reference.linalg, name, recorded(getattr(reference.linalg, name), asked)
        )
    monkeypatch.setattr(linalg, "_SWEEPS", 0)
    with ganfast.backend("cpu"):
        roots, traces = sqrtm(a), trace_sqrtm(a, b)
    assert len(asked) == 3 + 4
    torch.testing.assert_close(roots @ roots, a, rtol=0, atol=1e-13)
    expected = reference.linalg.batch_trace_sqrtm(a, b, TOLERANCE, TOLERANCE)[0]
    torch.testing.assert_close(traces, expected, rtol=1e-13, atol=0)


@built
def test_gradients_are_the_same_by_either_way():
    a, b = (gram(5, 12, 8, seed=seed)[0].requires_grad_() for seed in (1, 2))
    results = []
    for name in ("cpu", "reference"):
        with ganfast.backend(name):
            loss = sqrtm(a).square().sum() + trace_sqrtm(a, b).sum()
            results.append(torch.autograd.grad(loss, (a, b)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)
