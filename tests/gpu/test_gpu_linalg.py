"""Matrix roots and traces on the hardware: values, streams, graphs, no waiting."""

from importlib.util import find_spec

import pytest
import torch

import ganfast
from ganfast import reference
from ganfast.backends.cuda import linalg as kernels
from ganfast.linalg import polar
from ganfast.linalg.certificate import trace_interval
from ganfast.linalg.polar import polar_factor, polar_trace
from testing.gaussians import CASES, normal, pair
from testing.simulated_gpu import sized

DEVICE = torch.device("cuda")
EPS = torch.finfo(torch.float64).eps
TOLERANCE = 1e-5

needs_cupy = pytest.mark.skipif(
    find_spec("cupy") is None, reason="needs CuPy: pip install 'ganfast[cuda13]'"
)


def samples(count, rows, n, seed=0):
    return normal(count, rows, n, seed=seed)


def both(x):
    """The covariances of ``x`` on the CPU and on the GPU, the same bits."""
    a = x.mT @ x / x.shape[-2]
    return a, a.to(DEVICE)


@needs_cupy
@pytest.mark.parametrize("n", [1, 2, 7, 31, 32, 33, 64, 65, 100, 128])
def test_batches(n):
    count = sized(40, 40 if n < 64 else 5)
    x, y = samples(count, 2 * n + 1, n), samples(count, max(1, n // 2), n, seed=1)
    (_, a_gpu), (_, b_gpu) = both(x), both(y)
    bound = (8 + 4 * n) * EPS
    roots, definite = kernels.batch_sqrtm(a_gpu, TOLERANCE)
    assert definite.all() and torch.equal(roots, roots.mT)
    residual = (roots @ roots - a_gpu).abs().amax((-2, -1))
    assert (residual <= bound * a_gpu.abs().amax((-2, -1))).all()
    exact = torch.linalg.svdvals(x @ y.mT).sum(-1) / (x.shape[-2] * y.shape[-2]) ** 0.5
    for one, two in ((a_gpu, b_gpu), (b_gpu, a_gpu)):
        traces, definite = kernels.batch_trace_sqrtm(one, two, TOLERANCE, TOLERANCE)
        assert definite.all()
        torch.testing.assert_close(traces.cpu(), exact, rtol=bound, atol=0)


@needs_cupy
def test_float32_and_the_failure_list():
    x = samples(6, 20, 40)
    a, _ = both(x)
    a[2] = a[2].float().double()  # singular but for float32's noise
    a[4] -= torch.eye(40)
    roots, definite = kernels.batch_sqrtm(a.to(DEVICE), TOLERANCE)
    assert definite.tolist() == [True, True, True, True, False, True]
    exact, _ = reference.linalg.batch_sqrtm(a, TOLERANCE)
    torch.testing.assert_close(roots[[0, 2]].cpu(), exact[[0, 2]], rtol=0, atol=1e-6)
    full, _ = both(samples(6, 90, 40))
    narrow, _ = kernels.batch_sqrtm(full.float().to(DEVICE), TOLERANCE)
    assert narrow.dtype == torch.float32
    wide, _ = kernels.batch_sqrtm(full.float().double().to(DEVICE), TOLERANCE)
    assert torch.equal(narrow, wide.float())


@needs_cupy
def test_more_matrices_than_blocks():
    x = samples(sized(70_001, 501), 9, 4)
    a, a_gpu = both(x)
    assert len(x) > 3 * kernels._plan(a_gpu).resident
    roots, _ = kernels.batch_sqrtm(a_gpu, TOLERANCE)
    torch.testing.assert_close((roots @ roots).cpu(), a, rtol=0, atol=1e-13)
    traces, _ = kernels.batch_trace_sqrtm(a_gpu, a_gpu, TOLERANCE, TOLERANCE)
    torch.testing.assert_close(
        traces.cpu(), a.diagonal(dim1=-2, dim2=-1).sum(-1), rtol=1e-13, atol=0
    )


@needs_cupy
@pytest.mark.parametrize("n", [24, 60, 128])
def test_bitwise_the_same_from_run_to_run(n):
    _, a = both(samples(sized(50, 4), 2 * n, n))
    first = kernels.batch_sqrtm(a, TOLERANCE)[0]
    for _ in range(sized(10, 3)):  # as many as the simulated GPU has orders of threads
        assert torch.equal(first, kernels.batch_sqrtm(a, TOLERANCE)[0])


@needs_cupy
def test_the_callers_stream():
    """A kernel on the wrong stream would read what the sleeping stream has not written yet."""
    _, a = both(samples(100, 60, 24))
    expected = kernels.batch_sqrtm(a, TOLERANCE)[0]
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        late = torch.full_like(a, float("nan"))
        torch.cuda._sleep(20_000_000)
        late.copy_(a)
        got = kernels.batch_sqrtm(late, TOLERANCE)[0]
    side.synchronize()
    assert torch.equal(got, expected)


@needs_cupy
def test_the_kernel_in_a_graph():
    count = sized(30, 6)
    _, a = both(samples(count, 100, 40))
    plan = kernels._plan(a)
    roots, failed = torch.empty_like(a), kernels._flags(a)
    kernels._launch("sqrtm", plan, a, roots, failed)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernels._launch("sqrtm", plan, a, roots, failed)
    for seed in (1, 2):
        a.copy_(both(samples(count, 100, 40, seed=seed))[1])
        graph.replay()
        assert not failed.any()
        assert torch.equal(roots, kernels.batch_sqrtm(a, TOLERANCE)[0])


@needs_cupy
def test_the_public_functions_use_them():
    a, a_gpu = both(samples(20, 70, 48))
    b, b_gpu = both(samples(20, 70, 48, seed=1))
    assert [row.backend for row in ganfast.explain("sqrtm", a_gpu) if row.ok][0] == "cuda"
    torch.testing.assert_close(
        ganfast.linalg.sqrtm(a_gpu).cpu(), ganfast.linalg.sqrtm(a), rtol=0, atol=1e-13
    )
    found = ganfast.linalg.trace_sqrtm(a_gpu, b_gpu).cpu()
    torch.testing.assert_close(found, ganfast.linalg.trace_sqrtm(a, b), rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [300, 1000])
def test_the_polar_route(case, n):
    a, b, trace, *_ = pair(case, n)
    found = polar_trace(a.to(DEVICE), b.to(DEVICE))
    if case in ("full rank", "few samples"):
        assert found.converged
    if found.converged:
        assert float(found.trace) == pytest.approx(trace, rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_interval(case):
    a, b, trace, *_ = pair(case, 300)
    low, high = map(float, trace_interval(a.to(DEVICE), b.to(DEVICE)))
    assert low <= trace <= high
    if case != "collapsed":
        assert high - low <= 1e-8 * trace


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_the_polar_route_does_not_wait():
    _, a = both(samples(1, 1200, 500))
    _, b = both(samples(1, 1200, 500, seed=1))
    expected = polar_trace(a[0], b[0])
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = polar_trace(a[0], b[0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found.converged and torch.equal(found.trace, expected.trace)


def test_the_polar_factor_in_a_graph():
    c = normal(400, 400, seed=1).to(DEVICE)
    polar_factor(c)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = polar_factor(c)
    c.copy_(normal(400, 400, seed=2))
    graph.replay()
    torch.testing.assert_close(captured, polar_factor(c), rtol=0, atol=1e-9)
    eye = torch.eye(400, dtype=torch.float64, device=DEVICE)
    torch.testing.assert_close(captured.mT @ captured, eye, rtol=0, atol=1e-11)
    assert len(polar.quintics(polar.LOWEST)) == 22
