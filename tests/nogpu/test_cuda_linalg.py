"""The Jacobi kernels for batches of small matrices: the very text of csrc/cuda, run on the host."""

from __future__ import annotations

from itertools import cycle

import cuda_host
import mpmath
import pytest
import torch

from ganfast import reference
from ganfast._csrc_path import csrc_dir
from ganfast.backends.cuda import linalg, module

EPS = torch.finfo(torch.float64).eps
TOLERANCE = 1e-5
ONE_KERNEL = module._text  # cuda_host.gpu() has another
# A warp up to 32, one block of 4 lanes a pair up to 64, of 8 lanes beyond; odd, even, edges.
SIZES = (1, 2, 3, 16, 31, 32, 33, 50, 64)


@pytest.fixture(autouse=True)
def launches():
    with cuda_host.gpu() as recorded:
        yield recorded


ORDERS = {"forwards": 0, "backwards": 1, "shuffled": 5}
SIZES_IN_AN_ORDER = list(zip(SIZES, cycle(ORDERS), strict=False))
"""The warp's kernel and the block's meet every order."""


@pytest.fixture
def order(request, monkeypatch):
    monkeypatch.setattr(cuda_host, "order", ORDERS[request.param])


@pytest.fixture
def no_fallback(monkeypatch):
    def refuse(*_):
        raise AssertionError("the kernel should have served")

    monkeypatch.setattr(reference.linalg, "batch_sqrtm", refuse)
    monkeypatch.setattr(reference.linalg, "batch_trace_sqrtm", refuse)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gram(count, rows, n, seed=0):
    x = normal(count, rows, n, seed=seed)
    return x.mT @ x / rows


def check_root(a, roots):
    """The residual, within the roundings of a column (4 n) and of its scaling (8) of the matrix."""
    n = a.shape[-1]
    top = a.abs().amax((-2, -1))
    assert ((roots @ roots - a).abs().amax((-2, -1)) <= (8 + 4 * n) * EPS * top).all()
    assert torch.equal(roots, roots.mT)
    assert (torch.linalg.eigvalsh(roots)[:, 0] >= -n * EPS * top.sqrt()).all()


def nuclear(x, y):
    """Tr (x^T x y^T y)^{1/2} without a square."""
    return torch.linalg.svdvals(x @ y.mT).sum(-1)


@pytest.mark.parametrize(("n", "order"), SIZES_IN_AN_ORDER, indirect=["order"])
def test_roots(n, order, no_fallback):
    a = gram(9 if n <= 32 else 3, 2 * n + 1, n)
    roots, definite = linalg.batch_sqrtm(a, TOLERANCE)
    assert definite.all() and definite.dtype == torch.bool
    check_root(a, roots)


@pytest.mark.parametrize(("n", "order"), SIZES_IN_AN_ORDER, indirect=["order"])
def test_traces(n, order, no_fallback):
    count = 9 if n <= 32 else 3
    x, y = normal(count, 2 * n, n), normal(count, 2 * n, n, seed=1)
    traces, definite = linalg.batch_trace_sqrtm(x.mT @ x, y.mT @ y, TOLERANCE, TOLERANCE)
    assert definite.all() and traces.dtype == torch.float64
    torch.testing.assert_close(traces, nuclear(x, y), rtol=(8 + 4 * n) * EPS, atol=0)


@pytest.mark.slow
def test_the_largest(no_fallback, launches):
    """137 KiB of shared memory, within the 163 of sm_80."""
    x, y = normal(1, 300, 128), normal(1, 150, 128, seed=1)
    a, b = x.mT @ x, y.mT @ y
    with cuda_host.gpu(80) as launches:
        check_root(a, linalg.batch_sqrtm(a, TOLERANCE)[0])
        traces, _ = linalg.batch_trace_sqrtm(a, b, TOLERANCE, TOLERANCE)
        assert [shared for *_, shared in launches] == [139_792] * 2
    torch.testing.assert_close(traces, nuclear(x, y), rtol=4 * 128 * EPS, atol=0)


def test_threads_in_any_order_give_the_same_bits(monkeypatch):
    a, b = gram(3, 60, 40), gram(3, 30, 40, seed=1)
    results = []
    for order in (0, 1, 9):
        monkeypatch.setattr(cuda_host, "order", order)
        roots, _ = linalg.batch_sqrtm(a, TOLERANCE)
        results.append((roots, linalg.batch_trace_sqrtm(a, b, TOLERANCE, TOLERANCE)[0]))
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@pytest.mark.parametrize("n", [8, 40])
@pytest.mark.parametrize("rank", [0, 1, 5])
def test_singular(n, rank, no_fallback):
    """Few samples: the kernel stops at the rank, and takes none of the round-off for signal."""
    x, y = normal(4, rank, n), normal(4, 2 * n, n, seed=1)
    a, b = x.mT @ x, y.mT @ y
    roots, definite = linalg.batch_sqrtm(a, TOLERANCE)
    assert definite.all()
    check_root(a, roots)
    for first, second in ((a, b), (b, a)):
        traces, definite = linalg.batch_trace_sqrtm(first, second, TOLERANCE, TOLERANCE)
        torch.testing.assert_close(traces, nuclear(x, y), rtol=1e-13, atol=0)
    both, _ = linalg.batch_trace_sqrtm(a, a, TOLERANCE, TOLERANCE)
    torch.testing.assert_close(both, a.diagonal(dim1=-2, dim2=-1).sum(-1), rtol=1e-13, atol=0)


def test_ranges_that_meet_nowhere():
    a, b = torch.zeros(1, 40, 40).double(), torch.zeros(1, 40, 40).double()
    a[0, :20, :20], b[0, 20:, 20:] = gram(1, 50, 20)[0], gram(1, 50, 20, seed=1)[0]
    assert linalg.batch_trace_sqrtm(a, b, TOLERANCE, TOLERANCE)[0] == 0


def test_repeated_eigenvalues(no_fallback):
    q = torch.linalg.qr(normal(2, 24, 24)).Q
    w = torch.tensor([1.0] * 12 + [0.25] * 12, dtype=torch.float64)
    a = (q * w) @ q.mT
    a = (a + a.mT) / 2
    roots, _ = linalg.batch_sqrtm(a, TOLERANCE)
    torch.testing.assert_close(roots, (q * w.sqrt()) @ q.mT, rtol=0, atol=1e-14)
    eye = torch.eye(24).double().expand(2, 24, 24)
    assert torch.equal(linalg.batch_sqrtm(eye, TOLERANCE)[0], eye)


def test_graded_matrices_keep_their_small_digits(no_fallback):
    """D C D with D from 1 to 1e-6: an eigensolver that sees norms alone loses the small rows."""
    n = 8
    scale = torch.logspace(0, -6, n, dtype=torch.float64).flip(0)
    a = gram(1, 40, n)[0] * scale * scale[:, None]
    a = (a + a.T) / 2
    with mpmath.workdps(80):
        w, v = mpmath.eigsy(mpmath.matrix(a.tolist()))
        root = v * mpmath.diag([mpmath.sqrt(x) for x in w]) * v.T
        rows = [[float(x) for x in row] for row in root.tolist()]
        exact = torch.tensor(rows, dtype=torch.float64)
    unit = exact.diagonal().sqrt()
    unit = unit * unit[:, None]

    def error(found):
        return float(((found - exact) / unit).abs().max())

    assert error(linalg.batch_sqrtm(a[None], TOLERANCE)[0][0]) < 1e-13
    w, v = torch.linalg.eigh(a)
    assert error((v * w.clamp(min=0).sqrt()) @ v.T) > 1e-9


def test_float32(no_fallback, launches):
    a = gram(5, 60, 24).float()
    roots, _ = linalg.batch_sqrtm(a, TOLERANCE)
    assert roots.dtype == torch.float32
    exact, _ = linalg.batch_sqrtm(a.double(), TOLERANCE)
    assert torch.equal(roots, exact.float())
    traces, _ = linalg.batch_trace_sqrtm(a, a, TOLERANCE, TOLERANCE)
    assert traces.dtype == torch.float64
    torch.testing.assert_close(
        traces, a.double().diagonal(dim1=-2, dim2=-1).sum(-1), rtol=1e-13, atol=0
    )
    assert [name for name, *_ in launches] == [
        "sqrtm_2_float32",
        "sqrtm_2_float64",
        "trace_sqrtm_2_float32",
    ]


@pytest.mark.parametrize("n", [6, 36])
def test_what_eigenvalues_have_to_decide(n, monkeypatch):
    """float32 noise in a singular matrix, and a matrix that is indefinite, in one batch."""
    x, y = normal(5, n // 2, n), normal(5, 2 * n, n, seed=1)
    a, b = x.mT @ x, y.mT @ y
    good = a.clone()
    a[1] = a[1].float().double()
    a[3] -= 0.1 * torch.eye(n)
    asked = []
    inner = reference.linalg.batch_sqrtm

    def counted(a, tolerance):
        asked.append(len(a))
        return inner(a, tolerance)

    monkeypatch.setattr(reference.linalg, "batch_sqrtm", counted)
    roots, definite = linalg.batch_sqrtm(a, TOLERANCE)
    assert asked == [2] and definite.tolist() == [True, True, True, False, True]
    check_root(good[[0, 2, 4]], roots[[0, 2, 4]])
    expected = inner(a[[1, 3]], TOLERANCE)[
        0
    ]  # what is there for an indefinite one is not specified
    assert torch.equal(roots[[1, 3]], expected)
    for first, second in ((a, b), (b, a)):
        traces, definite = linalg.batch_trace_sqrtm(first, second, TOLERANCE, TOLERANCE)
        assert definite.tolist() == [True, True, True, False, True]
        exact = reference.linalg.batch_trace_sqrtm(first, second, TOLERANCE, TOLERANCE)[0]
        torch.testing.assert_close(traces, exact, rtol=1e-7, atol=0)
        torch.testing.assert_close(traces[::2], nuclear(x, y)[::2], rtol=1e-13, atol=0)


def test_too_few_sweeps_are_reported(tmp_path):
    """What has not converged is a failure, not a result: here after one sweep instead of 40."""
    (tmp_path / "cuda").mkdir()
    header = (csrc_dir() / "cuda" / "jacobi.h").read_text()
    few = header.replace("kSweeps = 40", "kSweeps = 1")
    assert few != header
    (tmp_path / "cuda" / "jacobi.h").write_text(few)
    text = ONE_KERNEL("batch_linalg.cu", "sqrtm_2_float64")
    library = cuda_host.build(text, (f"-I{tmp_path}",))
    a = torch.stack([gram(1, 30, 20)[0], torch.eye(20).double()])
    failed = torch.full((2,), 7, dtype=torch.int32)
    values = (a, torch.empty_like(a), failed, cuda_host.np.int64(2), cuda_host.np.int32(20))
    cuda_host.launch(library, "sqrtm_2_float64", 1, 32, *values, shared=8 * (20 * 34 + 12))
    assert failed.tolist() == [1, 0]


def test_more_matrices_than_the_device_holds(no_fallback, launches):
    count = 500
    a, b = gram(count, 9, 4), gram(count, 3, 4, seed=1)
    roots, _ = linalg.batch_sqrtm(a, TOLERANCE)
    check_root(a, roots)
    traces, _ = linalg.batch_trace_sqrtm(a, b, TOLERANCE, TOLERANCE)
    assert all(0 < grid * 4 < count for _, grid, *_ in launches)
    w, v = torch.linalg.eigh(a)
    left = v * w.sqrt()[:, None]
    exact = torch.linalg.eigvalsh(left.mT @ b @ left).clamp(min=0).sqrt().sum(-1)
    torch.testing.assert_close(traces, exact, rtol=1e-6, atol=0)


def test_strides_and_empty_batches(no_fallback, monkeypatch):
    a = gram(4, 20, 12)
    spread = torch.zeros(4, 24, 24).double()[:, ::2, ::2].copy_(a)
    roots, _ = linalg.batch_sqrtm(spread, TOLERANCE)
    assert torch.equal(roots, linalg.batch_sqrtm(a, TOLERANCE)[0])
    monkeypatch.undo()
    with cuda_host.gpu() as launches:
        empty, definite = linalg.batch_sqrtm(a[:0], TOLERANCE)
        assert empty.shape == (0, 12, 12) and definite.shape == (0,) and launches == []
        assert linalg.batch_trace_sqrtm(a[:0], a[:0], 1e-5, 1e-5)[0].shape == (0,)


def test_what_does_not_fit_is_left_to_the_reference(launches, monkeypatch):
    a = gram(1, 300, 129)
    roots, _ = linalg.batch_sqrtm(a, TOLERANCE)
    assert launches == [] and torch.equal(roots, reference.linalg.batch_sqrtm(a, TOLERANCE)[0])
    monkeypatch.setattr(linalg, "shared_memory", lambda _: 99 * 1024)  # a GeForce
    assert linalg._plan(a[:, :105, :105]) is not None
    assert linalg._plan(a[:, :106, :106]) is None
