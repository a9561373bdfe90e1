"""What a CUDA graph keeps of the time of its capture: right in a replay, or refused by name."""

from __future__ import annotations

import pytest
import torch
from test_gpu_capture import CUDA, batches
from torch import nn

import ganfast
import ganfast.functional as GF
from ganfast import metrics, optim
from ganfast.errors import InputError


def weights_with(kind, **options):
    torch.manual_seed(1)
    weights = [nn.Parameter(torch.randn(n, device=CUDA)) for n in (5, 3)]
    for p in weights:
        p.grad = torch.randn_like(p)
    return weights, kind(weights, **{"lr": 0.1, "eps": 1e-3, **options})


KINDS = (optim.Adam, optim.RMSprop)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["cuda", "reference"])
def test_a_graph_of_ones_own_asks_for_capturable(kind, backend):
    weights, optimizer = weights_with(kind)
    with ganfast.backend(backend):
        optimizer.step()
        told = f"capturable: got False for {kind.__name__} .* give capturable=True"
        with pytest.raises(InputError, match=told), torch.cuda.graph(torch.cuda.CUDAGraph()):
            optimizer.step()
    assert all(optimizer.state[p]["step"] == 1 for p in weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_of_the_first_step_is_refused(kind):
    """It would make the state, and set it to zero, in every replay."""
    weights, optimizer = weights_with(kind, capturable=True)
    told = "state: got none .* take a step before the capture"
    with pytest.raises(InputError, match=told), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()
    assert not any(optimizer.state[p] for p in weights)


@pytest.mark.parametrize("kind", KINDS)
def test_counters_of_steps_taken_before_it_was_capturable(kind):
    """They are on the host: a capture is refused, and the next step moves them."""
    weights, optimizer = weights_with(kind, weight_clip=0.5)
    others, plain = weights_with(kind, weight_clip=0.5)
    # (On the simulated GPU what is on the host is known by "meta" alone, and has no number.)
    on_host = [torch.ones((), device="cpu") for _ in weights]
    optimizer.step()
    optimizer.param_groups[0]["capturable"] = True
    if on_host[0].is_cpu:
        told = "step: got a counter on the host for .* take a step before the capture"
        with pytest.raises(InputError, match=told), torch.cuda.graph(torch.cuda.CUDAGraph()):
            optimizer.step()
    optimizer.step()
    assert all(optimizer.state[p]["step"].is_cuda for p in weights)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    graph.replay()
    for _ in range(3):
        plain.step()
    for p, q in zip(weights, others, strict=True):
        torch.testing.assert_close(p, q)
        assert optimizer.state[p]["step"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_a_scheduler_changes_is_refused(kind):
    _, optimizer = weights_with(kind, capturable=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    told = r"lr: got 0.05, a number that a scheduler changes; .* give lr=torch.tensor\("
    with pytest.raises(InputError, match=told), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()


def test_a_scheduled_learning_rate_on_the_device_is_read_in_each_replay():
    weights, optimizer = weights_with(
        optim.RMSprop, capturable=True, lr=torch.tensor(0.1, device=CUDA)
    )
    others, plain = weights_with(optim.RMSprop)
    schedulers = [torch.optim.lr_scheduler.StepLR(each, 1, 0.5) for each in (optimizer, plain)]
    fast = ganfast.capture(optimizer.step, restore=[optimizer, nn.ParameterList(weights)])
    for _ in range(3):
        fast()
        plain.step()
        for each in schedulers:
            each.step()
    for p, q in zip(weights, others, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("kind", [*KINDS, torch.optim.Adam])
@pytest.mark.parametrize("restored", [True, False])
def test_options_that_change_after_the_capture(kind, restored):
    _, optimizer = weights_with(kind, capturable=True)
    fast = ganfast.capture(lambda: optimizer.step(), restore=[optimizer] * restored)
    fast()
    (group,) = optimizer.param_groups
    changes = {"lr": 0.01, "weight_decay": 0.1}
    if kind in KINDS:
        changes["weight_clip"] = 0.3
    for name, value in changes.items():
        before = group[name]
        group[name] = value
        for again in (fast, fast.replay):
            told = f"{name}: got {value}, but the captured step has {before}"
            with pytest.raises(InputError, match=told):
                again()
        group[name] = before
    fast()


def test_state_that_was_loaded_after_the_capture():
    """The graph works on the tensors that were there."""
    _, optimizer = weights_with(optim.Adam, capturable=True)
    fast = ganfast.capture(lambda: optimizer.step())
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(InputError, match="Adam: its state was loaded after .* capture the step"):
        fast()


def noisy_loss(source):
    scores = torch.ones(8, device=CUDA)
    return GF.discriminator_loss(scores, scores, label_noise=0.3, generator=source)


def points_between(source):
    samples = torch.zeros(8, 2, device=CUDA)
    return GF.interpolate(samples, samples + 1, generator=source).sum()


@pytest.mark.parametrize("draws", [noisy_loss, points_between])
def test_a_generator_of_the_host_is_refused(draws):
    source = torch.Generator("cpu").manual_seed(0)
    draws(source)
    told = "generator: got one on the CPU .* give one on the device, or None"
    with pytest.raises(InputError, match=told):
        ganfast.capture(lambda: draws(source))


@pytest.mark.parametrize("draws", [noisy_loss, points_between])
def test_the_devices_own_generator_draws_anew(draws):
    fast = ganfast.capture(lambda: draws(None))
    assert len({fast().item() for _ in range(4)}) > 1


@pytest.mark.parametrize("draws", [noisy_loss, points_between])
def test_a_generator_of_ones_own_goes_on_in_the_replays(draws):
    source, other = (torch.Generator(CUDA).manual_seed(3) for _ in range(2))
    fast = ganfast.capture(lambda: draws(source), generators=[source])
    source.manual_seed(3)
    found = [fast().item() for _ in range(4)]
    assert found == pytest.approx([draws(other).item() for _ in range(4)], rel=1e-6)
    assert len(set(found)) > 1 and torch.equal(source.get_state(), other.get_state())


def test_generators_that_no_graph_has():
    for given, told in (
        (torch.Generator("cpu"), r"generators\[0\]: got one on cpu; give one on the device"),
        (3, r"generators\[0\]: got 3; give a torch.Generator on the device"),
    ):
        with pytest.raises(InputError, match=told):
            ganfast.capture(lambda: torch.ones(1, device=CUDA), generators=[given])
    source = torch.Generator(CUDA)
    with pytest.raises(InputError, match="step: got noisy, which cannot be captured"):

        def noisy():
            return noisy_loss(source)

        ganfast.capture(noisy)


def running_means(kind):
    """A step with a module that has means of its own, and what they are after some steps."""
    torch.manual_seed(2)
    layer = nn.Linear(3, 1, device=CUDA)
    if kind == "lecam":
        module = ganfast.LeCAM(start=2)

        def step(x):
            layer.zero_grad(set_to_none=True)
            scores = layer(x)
            loss = module(scores[:4], scores[4:])
            (loss + scores.square().mean()).backward()
            return loss

    else:
        module = ganfast.LossBalancer({"one": 1.0, "two": 2.0}, decay=0.9)

        def step(x):
            layer.zero_grad(set_to_none=True)
            scores = layer(x)
            losses = {"one": scores.square().mean(), "two": scores.exp().mean()}
            loss = module(losses, scores).loss
            loss.backward()
            return loss

    return module.to(CUDA), step


@pytest.mark.parametrize("kind", ["lecam", "balancer"])
def test_running_means_run_in_the_replays(kind):
    given = [real for real, _ in batches(5)]
    given = [torch.cat([x, x[:, :1]], 1) for x in given]
    module, step = running_means(kind)
    fast = ganfast.capture(step, given[0], restore=[module])
    assert all(not x.any() for x in module.buffers())
    other, plain = running_means(kind)
    for x in given:
        torch.testing.assert_close(fast(x), plain(x).detach())
        for mine, theirs in zip(module.buffers(), other.buffers(), strict=True):
            torch.testing.assert_close(mine, theirs)
    assert all(x.any() for x in module.buffers())


def test_a_captured_clip_needs_no_table():
    """Pinned memory that is only borrowed for the copy would be someone else's at the replay."""
    weights = [torch.full((n,), 2.0, device=CUDA) for n in (3, 5000)]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        fraction = GF.clip_weights_(weights, 0.5, return_fraction=True)
    for number, expected in ((2.0, 1.0), (0.25, 0.0), (0.5, 1.0)):
        for x in weights:
            x.fill_(number)
        graph.replay()
        assert all(float(x.max()) == min(number, 0.5) for x in weights)
        assert fraction.item() == expected


def pictures(seed, *shape):
    source = torch.Generator("cpu").manual_seed(seed)
    made = torch.randint(0, 256, (*shape, 3), generator=source, dtype=torch.uint8, device="cpu")
    return made.to(CUDA)


def test_preprocessing_in_a_graph():
    """Its tables are those that an earlier batch has sent, on whatever stream."""
    images = [pictures(seed, 2, 9, 7) for seed in range(3)]
    expected = [metrics.preprocess(x, "pytorch-fid") for x in images]
    fast = ganfast.capture(lambda x: metrics.preprocess(x, "pytorch-fid"), images[0])
    for x, wanted in zip(images, expected, strict=True):
        assert torch.equal(fast(x), wanted)


def test_preprocessing_whose_tables_a_graph_could_not_read():
    for images, told in (
        (pictures(0, 2, 11, 13), "images: got 11 pixels .* preprocess a batch of this size"),
        ([pictures(0, 4, 5), pictures(0, 6, 5)], "images: got a list of 2 .* give one tensor"),
    ):
        with pytest.raises(InputError, match=told), torch.cuda.graph(torch.cuda.CUDAGraph()):
            metrics.preprocess(images, "pytorch-fid")
