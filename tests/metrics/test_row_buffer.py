"""The symmetric product of packed rows against long double, and what it may not touch."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
import truth

from ganfast import reference

pytestmark = pytest.mark.skipif(
    "cpu" not in truth.backends(), reason="the C++ kernels were not built"
)
DTYPES = ["float64", "float32", "float16", "bfloat16", "uint8"]
CPU = torch.device("cpu")


def row_buffer(capacity, n):
    from ganfast.backends.cpu.row_buffer import RowBuffer

    return RowBuffer(capacity, n, CPU)


@pytest.fixture(params=["x86-64-v2", "x86-64-v3", "x86-64-v4", "generic"])
def each_isa(request):
    from ganfast import _cpu

    if request.param not in _cpu.supported_isas():
        pytest.skip(f"this processor or build has no {request.param}")
    best = _cpu.isa()
    _cpu.use_isa(request.param)
    yield request.param
    _cpu.use_isa(best)


@cache  # for the next instruction set
def squares(k, n):
    """Rows, one more of them, a matrix and what it is after, to long double; and its size."""
    x, start = torch.randn(k, n, dtype=torch.float64), torch.randn(n, n, dtype=torch.float64)
    row = torch.randn(n, dtype=torch.float64)
    y = torch.cat([x, row[None]]).numpy().astype(np.longdouble)
    size = np.abs(start.numpy()) + np.abs(y).T @ np.abs(y)
    return x, row, start, start.numpy() + y.T @ y, size


@pytest.mark.parametrize("n", [1, 7, 8, 9, 24, 25, 31, 33, 100, 257])
@pytest.mark.parametrize("k", [1, 2, 5, 192, 193, 1000])
def test_squares(each_isa, k, n):
    x, row, start, expected, size = squares(k, n)
    rows, matrix = row_buffer(k, n), start.clone()
    assert rows.append(x) and rows.count == k
    rows.square(matrix, row)
    assert rows.count == 0
    assert torch.equal(matrix.triu(1), start.triu(1))  # nothing above the diagonal is touched
    error = np.tril(np.abs(matrix.numpy() - expected) / size)
    assert error.max() <= (k + 2) * 2.0**-53


@pytest.mark.parametrize("n", [1, 23, 24, 50])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_comes_in_comes_out(each_isa, dtype, n):
    wide = (torch.rand(2, 40, 2 * n) * 200).to(getattr(torch, dtype))
    for x in (wide[0, :, :n], wide[0, ::3, 1 : n + 1], wide[0, :, ::2], wide[0, :n].mT[:n]):
        if x.shape[1] != n:
            x = x.mT
        x = x[:, :n]
        rows = row_buffer(100, x.shape[1])
        assert rows.append(x[:3]) and rows.append(x[3:])
        assert torch.equal(rows.rows(), x.double())


@pytest.mark.parametrize("dtype", DTYPES[:4])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_not_finite_anywhere(each_isa, dtype, value):
    dtype = getattr(torch, dtype)
    largest = torch.finfo(dtype).max  # finite numbers whose sum is not
    for n in (1, 24, 29):
        for at in range(n):
            rows, x = row_buffer(20, n), torch.full((9, n), largest, dtype=dtype)
            assert rows.append(x)
            kept = x.double().clone()
            x[at % 9, at] = value
            assert not rows.append(x)
            assert rows.count == 9 and torch.equal(rows.rows(), kept)


@pytest.mark.parametrize("mean", [0.0, 1e7])
def test_centre(each_isa, mean):
    x = torch.randn(1000, 37, dtype=torch.float64) + mean
    rows = row_buffer(1000, 37)
    rows.append(x)
    high, low = rows.centre()
    exact = x.numpy().astype(np.longdouble).mean(0)
    found = high.numpy().astype(np.longdouble) + low.numpy()
    assert np.abs(found - exact).max() <= 1e-15 + 2.0**-62 * mean
    assert torch.equal(rows.rows(), x - high)


@pytest.mark.parametrize("n", [100, 500])
def test_the_same_bits_for_any_number_of_threads(each_isa, n):
    x, kept = torch.randn(900, n), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            rows, matrix = row_buffer(1000, n), torch.zeros(n, n, dtype=torch.float64)
            rows.append(x)
            pair = rows.centre()
            rows.square(matrix, pair[0])
            found.append((matrix, *pair))
    finally:
        torch.set_num_threads(kept)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_the_reference_does_the_same():
    x = torch.randn(300, 40) + 5
    ours, theirs = row_buffer(400, 40), reference.row_buffer.RowBuffer(400, 40, CPU)
    results = []
    for rows in (ours, theirs):
        assert rows.append(x) and not rows.append(torch.full((1, 40), torch.nan))
        assert torch.equal(rows.rows(), x.double())
        high, low = rows.centre()
        matrix = torch.zeros(40, 40, dtype=torch.float64)
        rows.square(matrix, high)
        results.append((high + low, matrix.tril()))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-10)


def test_memory():
    """At dim = 2048 less than 200 MB more than there was, whatever the number of rows."""
    code = (
        "import re, torch; from ganfast.metrics import Moments\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', status())[1])\n"
        "small = Moments(64); small.update(torch.randn(1200, 64)); small.covariance\n"
        "x = torch.randn(100, 2048); before = peak()\n"
        "found = Moments(2048)\n"
        "for _ in range(25): found.update(x)\n"
        "found.mean, found.covariance\n"
        "print(found.count, (peak() - before) * 1024 / 1e6)\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("/proc is Linux's")  # and ru_maxrss would begin with what pytest itself holds
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert told.returncode == 0, told.stderr
    count, megabytes = told.stdout.split()
    assert count == "2500" and 33 < float(megabytes) < 200, told.stdout
