"""The simulated GPU sees what a kernel does wrong, and lets pass what is right."""

from __future__ import annotations

import itertools
import math
import struct

import cuda_host
import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from ttsem import ops
from ttsem.sanitize import KernelFault

from testing.simulated_gpu import speed

CUDA = torch.device("cuda")

HALVES = """
extern "C" __global__ void half(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] / 2; }
"""


@triton.jit
def running_sum(x, partials, counter, out, programs, SEM: tl.constexpr, LAST: tl.constexpr):
    program = tl.program_id(0)
    tl.store(partials + program, tl.load(x + program) * 2)
    arrived = tl.atomic_add(counter, 1, sem=SEM)
    if arrived == programs - 1 or not LAST:
        lanes = tl.arange(0, 8)
        sums = tl.load(partials + lanes, mask=lanes < programs, other=0.0)
        tl.store(out + (0 if LAST else program), tl.sum(sums, axis=0))
        if LAST:
            tl.store(counter, 0)


@triton.jit
def other_name(x, partials, tally, out, programs, SEM: tl.constexpr, LAST: tl.constexpr):
    running_sum(x, partials, tally, out, programs, SEM, LAST)


@triton.jit
def double(x, y, n, BLOCK: tl.constexpr):
    lanes = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + lanes, 2 * tl.load(x + lanes, mask=lanes < n), mask=lanes < n)


def total(kernel=running_sum, sem="acq_rel", last=True):
    x = torch.arange(5.0, device=CUDA)
    partials, out = torch.empty(5, device=CUDA), torch.empty(5, device=CUDA)
    counter = torch.zeros((), dtype=torch.int32, device=CUDA)
    kernel[(5,)](x, partials, counter, out, 5, sem, last)
    return out[0].item(), counter.item()


def test_the_last_to_arrive_may_read_what_the_others_stored():
    for _ in range(10):  # in as many orders
        assert total() == (20.0, 0)


@pytest.mark.parametrize(
    "wrong", [{"sem": "relaxed"}, {"last": False}, {"kernel": other_name}], ids=str
)
def test_nothing_else_may(wrong):
    with pytest.raises(KernelFault, match="Program instances run in any order"):
        total(**wrong)


def test_a_mask_off_by_one():
    x = torch.ones(33, device=CUDA)
    y = torch.empty_like(x)
    double[(3,)](x, y, 33, 16)
    assert torch.equal(y, 2 * x)
    with pytest.raises(KernelFault, match=r"1 element\(s\) past the end"):
        double[(3,)](x, y, 34, 16)


def test_memory_that_nobody_has_written():
    assert torch.empty(3, device=CUDA).isnan().all()
    assert torch.empty(3, device=CUDA).device.type == "cuda"


def test_float32_denormals_are_flushed():
    """As in what CuPy compiles, with -ftz=true."""
    x, y = torch.tensor([2.0**-126, 1.0, 2.0**-140]), torch.empty(3)
    cuda_host.launch(cuda_host.build(HALVES), "half", 1, 3, x, y)
    assert y.tolist() == [0.0, 0.5, 0.0]
    assert (x[0] / 2).item() == 2.0**-127, "only inside of the launch"


def test_a_captured_graph_runs_when_it_is_replayed():
    x, y = torch.ones(20, device=CUDA), torch.zeros(20, device=CUDA)
    table, z = torch.zeros(3), torch.zeros(3)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        assert torch.cuda.is_current_stream_capturing()
        double[(2,)](x, y, 20, 16)
        table += 2
        cuda_host.launch(cuda_host.build(HALVES), "half", 1, 3, table, z)
        result = y + 1
    assert not y.any() and not table.any() and not torch.cuda.is_current_stream_capturing()
    for value in (3.0, 4.0):
        x.fill_(value)
        graph.replay()
        assert (y == 2 * value).all() and (result == 2 * value + 1).all()
    assert z.tolist() == [2.0] * 3
    refused = pytest.raises(RuntimeError, match="not permitted when a stream is capturing")
    with refused, torch.cuda.graph(torch.cuda.CUDAGraph()):
        x.sum().item()


def test_a_stream_has_a_number_of_its_own():
    side, default = torch.cuda.Stream(), torch.cuda.current_stream()
    with torch.cuda.stream(side):
        assert torch.cuda.current_stream().cuda_stream == side.cuda_stream != default.cuda_stream
    assert torch.cuda.current_stream() is default


def test_the_width_of_an_argument():
    with pytest.raises(AssertionError, match="argument 0's width"):
        cuda_host.launch(cuda_host.build(HALVES), "half", 1, 3, np.int32(1), torch.empty(3))


@pytest.mark.parametrize("name", ["f32", "f64", "f16"])
def test_a_fused_multiply_add_rounds_once(name):
    """The C library's is ttsem's exact one, to the bit, also where a product's end decides."""
    form, kind = ops._FMA_FORMATS[name], {"f32": "f4", "f64": "f8", "f16": "f2"}[name]
    draw = np.random.default_rng(0)
    bits = draw.integers(0, 1 << (8 * int(kind[1])), (3, 2000), dtype=f"u{kind[1]}", endpoint=False)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 4097.0, 2.0**-149, 2.0**127, 2.0**-30]
    with np.errstate(all="ignore"):
        a, b, c = (x.view(kind).astype(float) for x in bits)
        near = (-a * b).astype(kind).astype(float)  # what is left is all rounding
        special = [float(np.float64(x).astype(kind)) for x in special]
    triples = [*zip(a, b, c, strict=True), *zip(a, b, near, strict=True)]
    triples += itertools.product(special, repeat=3)
    for triple in triples:
        found, exact = speed.fma(*triple, form), speed.exactly(*triple, form)
        same = struct.pack("d", found) == struct.pack("d", exact)
        assert same or (math.isnan(found) and math.isnan(exact)), triple
    assert ops._fma_scalar is speed.fma
