"""The Triton backend as a guest on a GPU: streams, graphs, memory, determinism, no waiting."""

import gc

import pytest
import torch

import ganfast.functional as GF
from ganfast import _dispatch, reference
from ganfast.games import GAMES, PHIS, LossSpec
from testing.simulated_gpu import sized

SIZES = [64, 4096, sized(1_000_003, 20_003)]


@pytest.fixture(autouse=True)
def _forced():
    with _dispatch.backend("triton"):
        yield


def pair(n, dtype=torch.float32, seed=0):
    generator = torch.Generator("cuda").manual_seed(seed)
    return [
        torch.randn(n, device="cuda", dtype=dtype, generator=generator).requires_grad_()
        for _ in range(2)
    ]


def step(real, fake, **options):
    loss = GF.discriminator_loss(real, fake, **options)
    return (loss, *torch.autograd.grad(loss, (real, fake)))


@pytest.mark.parametrize("n", SIZES)
def test_bitwise_the_same_from_run_to_run(n):
    real, fake = pair(n)
    first = step(real, fake)
    for _ in range(sized(50, 7)):  # as many as the simulated GPU has orders of programs
        again = step(real, fake)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("n", SIZES)
def test_nothing_waits_for_the_device(n):
    real, fake = pair(n)
    options = {"label_smoothing": 0.1, "label_noise": 0.1, "label_flip": 0.1}
    step(real, fake, **options)  # compiles, which may wait
    step(real, fake)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(real, fake, **options)
        step(real, fake)
        GF.generator_loss(fake, reduction="none").sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("n", SIZES)
def test_cuda_graph(n):
    real, fake = pair(n)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(real, fake)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(real, fake)
    for seed in range(1, 4):
        with torch.no_grad():
            for x, y in zip((real, fake), pair(n, seed=seed), strict=True):
                x.copy_(y)
        graph.replay()
        eager = step(real, fake)
        assert all(torch.equal(a, b) for a, b in zip(captured, eager, strict=True))


def test_two_graphs_replayed_at_once():
    """Each has a counter of its own, though both were captured on the same stream."""
    inputs, graphs, results = [], [], []
    for seed in range(2):
        real, fake = pair(sized(4_000_003, 20_003), seed=seed)
        step(real, fake)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results.append([GF.discriminator_loss(real, fake) for _ in range(sized(5, 2))])
        inputs.append((real, fake))
        graphs.append(graph)
    expected = [GF.discriminator_loss(*each).detach() for each in inputs]
    streams = [torch.cuda.Stream() for _ in graphs]
    for _ in range(sized(20, 2)):
        for stream, graph in zip(streams, graphs, strict=True):
            with torch.cuda.stream(stream):
                graph.replay()
        torch.cuda.synchronize()
        for losses, value in zip(results, expected, strict=True):
            assert all(torch.equal(loss, value) for loss in losses)


def test_a_graph_draws_new_noise_at_each_replay():
    real, fake = pair(4096)
    GF.discriminator_loss(real, fake, label_noise=0.2)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = GF.discriminator_loss(real, fake, label_noise=0.2).detach()
    seen = set()
    for _ in range(5):
        graph.replay()
        seen.add(loss.item())
    assert len(seen) == 5


def test_the_callers_stream():
    """A kernel on the wrong stream would read what the sleeping stream has not written yet."""
    real, fake = pair(1_000_003)
    expected = step(real, fake)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        late = [torch.full_like(x, float("nan")) for x in (real, fake)]
        torch.cuda._sleep(20_000_000)
        for x, y in zip(late, (real, fake), strict=True):
            x.copy_(y.detach())
        got = step(*(x.requires_grad_() for x in late))
    side.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_sums_on_many_streams_at_once():
    inputs = [pair(sized(2_000_003, 20_003), seed=seed) for seed in range(sized(8, 3))]
    expected = [GF.discriminator_loss(*each).detach() for each in inputs]
    streams = [torch.cuda.Stream() for _ in inputs]
    torch.cuda.synchronize()
    for _ in range(sized(20, 3)):
        got = []
        for stream, each in zip(streams, inputs, strict=True):
            with torch.cuda.stream(stream):
                got.append(GF.discriminator_loss(*each).detach())
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_another_device_than_the_current_one():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA GPUs")
    real, fake = (x.detach().to("cuda:1").requires_grad_() for x in pair(4096))
    assert torch.cuda.current_device() == 0
    loss, *_ = step(real, fake)
    assert loss.device == torch.device("cuda:1")
    near = reference.losses.adversarial_loss(
        (real.double(), fake.double()),
        LossSpec(PHIS["cross_entropy"], (1.0, 0.0), 1, "mean"),
        None,
        torch.float64,
    )
    torch.testing.assert_close(loss.double(), near, rtol=1e-6, atol=0)


@pytest.mark.parametrize("game", GAMES)
def test_no_memory_but_the_results(game):
    real, fake = pair(4_000_000)
    step(real, fake, game=game)
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    results = step(real, fake, game=game)
    gradients = sum(x.numel() * x.element_size() for x in results[1:])
    assert torch.cuda.max_memory_allocated() - before < gradients + 2**20


def test_indices_beyond_int32():
    from ganfast.backends.triton import losses as backend

    n = 2**31 + 1025
    if torch.cuda.mem_get_info()[0] < 16 * 2**30:
        pytest.skip("needs 16 GiB of free GPU memory")
    x = torch.zeros(n, dtype=torch.float16, device="cuda")
    x[5], x[2**31], x[-1] = 3.0, 5.0, 7.0
    spec = LossSpec(PHIS["half_square"], (0.0,), 1, "sum")
    value = backend.adversarial_loss((x,), spec, None, torch.float32)
    assert value.item() == (3.0**2 + 5.0**2 + 7.0**2) / 2
    one = torch.ones((), device="cuda")
    (gradient,) = backend.adversarial_loss_gradient((one,), (x,), spec, None, (True,))
    assert torch.equal(gradient, x)


def test_new_sizes_seeds_and_rates_compile_nothing():
    from ganfast.backends.triton.kernels.losses import map_pair_kernel, sum_pair_kernel

    def compiled():
        caches = (kernel.device_caches[0][0] for kernel in (sum_pair_kernel, map_pair_kernel))
        return sum(len(cache) for cache in caches)

    def play(n, noise, seed):
        source = torch.Generator().manual_seed(seed)
        step(*pair(n), label_noise=noise, label_smoothing=noise / 2, generator=source)

    play(20_000, 0.1, 0)
    before = compiled()
    for n, noise, seed in [(20_016, 0.2, 1), (100_001, 0.3, 2), (5_000_000, 0.01, 3)]:
        play(n, noise, seed)
    assert compiled() == before
