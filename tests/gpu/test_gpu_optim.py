"""The clip and the steps of csrc/cuda/optim.cu on a real device."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import ganfast
import ganfast.functional as GF
from ganfast.optim import Adam, RMSprop

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]
CUDA = torch.device("cuda")
KINDS = {RMSprop: torch.optim.RMSprop, Adam: torch.optim.Adam}


@pytest.fixture(autouse=True)
def on_the_cuda_backend():
    with ganfast.backend("cuda"):
        yield


def parameters():
    random = torch.Generator(CUDA).manual_seed(5)
    shapes = ((), (3, 5), (4097,), (64, 3, 4, 4), (911, 93))
    return [nn.Parameter(torch.randn(s, generator=random, device=CUDA)) for s in shapes]


def give(params, seed):
    random = torch.Generator(CUDA).manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=random, device=CUDA)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_clip_without_a_sync(dtype):
    tensors = [p.detach().to(dtype) for p in parameters()]
    expected = [x.clamp(-0.3, 0.3) for x in tensors]
    torch.cuda.set_sync_debug_mode("error")
    try:
        fraction = GF.clip_weights_(tensors, 0.3, return_fraction=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(map(torch.equal, tensors, expected)) and 0 < fraction.item() < 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("capturable", [False, True])
def test_steps_are_torchs_without_a_sync(kind, weight_decay, capturable):
    options = {"lr": 0.01, "eps": 1e-3, "weight_decay": weight_decay, "capturable": capturable}
    ours, theirs = parameters(), parameters()
    mine, other = kind(ours, weight_clip=1.0, **options), KINDS[kind](theirs, **options)
    for seed in range(4):
        give(ours, seed), give(theirs, seed)
        torch.cuda.set_sync_debug_mode("error")
        try:
            mine.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        other.step()
        for p, q in zip(ours, theirs, strict=True):
            q.data.clamp_(-1, 1)
            torch.testing.assert_close(p, q)
            assert mine.state[p]["step"].device == other.state[q]["step"].device


@pytest.mark.parametrize("kind", KINDS)
def test_a_captured_step_replays(kind):
    options = {"lr": torch.tensor(0.01, device=CUDA), "eps": 1e-3, "capturable": True}
    ours, theirs = parameters(), parameters()
    mine = kind(ours, weight_clip=1.0, **options)
    other = KINDS[kind](theirs, **copy.deepcopy(options))
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    give(ours, 0), give(theirs, 0)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        mine.step()
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        mine.step()
    for _ in range(3):
        graph.replay()
    for _ in range(4):
        other.step()
        for q in theirs:
            q.data.clamp_(-1, 1)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)
        assert mine.state[p]["step"] == 4


@pytest.mark.parametrize("kind", KINDS)
def test_under_a_grad_scaler(kind):
    params = parameters()
    optimizer = kind(params, lr=0.01)
    scaler = torch.amp.GradScaler("cuda", init_scale=8.0)
    for seed, finite in enumerate((True, False, True)):
        give(params, seed)
        scaler.scale(torch.ones((), device=CUDA))
        if not finite:
            params[2].grad[0] = torch.inf
        before = [p.detach().clone() for p in params]
        scaler.step(optimizer)
        scaler.update()
        same = all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
        assert same != finite
    assert all(optimizer.state[p]["step"] == 2 for p in params)
