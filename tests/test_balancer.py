"""LossBalancer against EnCodec's rule by hand, and the weights of several processes."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from helpers import two_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

import ganfast.functional as GF
from ganfast import LeCAM, LossBalancer
from ganfast.errors import DivergedError

SHARES = {"l1": 1.0, "adversarial": 3.0}


def losses_of(output, factor=1.0):
    return {"l1": output.abs().mean() * factor, "adversarial": -output.sigmoid().mean()}


def by_hand(balancer, history, per_sample):
    """Weights from the gradients of every step so far, newest last."""
    weights = {}
    for k, share in enumerate(balancer.weights.values()):
        norms = [g[k].flatten(1).norm(dim=1).mean() if per_sample else g[k].norm() for g in history]
        ages = range(len(history) - 1, -1, -1)
        mean = sum(balancer.decay**age * n for age, n in zip(ages, norms, strict=True))
        mean = mean / sum(balancer.decay**age for age in ages)
        share = share / sum(balancer.weights.values())
        weights[list(balancer.weights)[k]] = balancer.total_norm * share / (mean + balancer.eps)
    return weights


@pytest.mark.parametrize("per_sample", [True, False])
def test_as_encodec_over_steps(per_sample):
    balancer = LossBalancer(SHARES, decay=0.9, total_norm=2.0, per_sample=per_sample)
    w, history = torch.randn(3, 5, dtype=torch.float64, requires_grad=True), []
    for step in range(4):
        output = w * (step + 1)
        losses = losses_of(output, 10.0**step)
        grads = [torch.autograd.grad(x, output, retain_graph=True)[0] for x in losses.values()]
        history.append(grads)
        loss, weights, norms = balancer(losses, output)
        expected = by_hand(balancer, history, per_sample)
        for name in SHARES:
            torch.testing.assert_close(weights[name], expected[name], rtol=1e-6, atol=0)
            assert not weights[name].requires_grad and norms[name] > 0
        value = sum(weights[name] * losses[name] for name in SHARES)
        torch.testing.assert_close(loss, value.detach())
        (g,) = torch.autograd.grad(loss, w)
        joined = sum(weights[n] * x for n, x in zip(SHARES, grads, strict=True)) * (step + 1)
        torch.testing.assert_close(g, joined)


def test_shares_do_not_depend_on_the_size_of_a_loss():
    w = torch.randn(4, 6, requires_grad=True)
    seen = []
    for factor in (1e-6, 1.0, 1e6):
        output = w * 1.0
        loss = LossBalancer(SHARES)(losses_of(output, factor), output).loss
        seen.append(torch.autograd.grad(loss, w)[0])
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(seen[1], seen[2])


def test_a_loss_that_begins_later_and_the_state():
    balancer, w = LossBalancer(SHARES), torch.randn(4, 6, requires_grad=True)
    output = w * 1.0
    only = {"l1": output.abs().mean()}
    weights = balancer(only, output).weights
    assert list(weights) == ["l1"] and balancer.counts.tolist() == [1.0, 0.0]
    output = w * 1.0
    balancer(losses_of(output), output)
    again = LossBalancer(SHARES)
    again.load_state_dict(balancer.state_dict())
    results = []
    for each in (balancer, again):
        output = w * 2.0
        results.append(each(losses_of(output), output).weights)
    torch.testing.assert_close(*results, rtol=0, atol=0)
    assert set(balancer.state_dict()) == {"sums", "counts"}


def test_a_step_that_overflowed_leaves_the_means_alone():
    balancer, w = LossBalancer(SHARES), torch.randn(4, 6, requires_grad=True)
    output = w * 1.0
    balancer(losses_of(output), output)
    before = balancer.sums.clone(), balancer.counts.clone()
    output = w * 1.0
    loss = balancer(losses_of(output, float("inf")), output).loss
    (g,) = torch.autograd.grad(loss, w)
    assert not g.isfinite().all(), "GradScaler must see it"
    assert balancer.sums[0] == before[0][0] and balancer.counts[0] == before[1][0]
    assert balancer.sums[1] > before[0][1] and balancer.counts[1] > before[1][1]


def test_a_module_made_half_keeps_its_means_wide():
    balancer = LossBalancer(SHARES).half()
    layer = nn.Linear(8, 8).half()
    output = layer(torch.ones(2, 8).half())
    loss, weights, _ = balancer(losses_of(output.float()), output, scale=1024.0)
    loss.backward()
    assert balancer.sums.dtype == torch.float32 and loss.dtype == torch.float32
    assert layer.weight.grad.dtype == torch.float16 and layer.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": {}}, "^losses: got none; give some of l1, adversarial"),
        ({"losses": {"adversrial": 0}}, "^losses: got 'adversrial'.*did you mean 'adversarial'"),
        ({"losses": {"l1": torch.ones(())}}, r"^losses\['l1'\]: does not reach the output"),
        ({"output": torch.ones(2, 2)}, "^output: has no graph"),
    ],
)
def test_bad_input(change, message):
    output = torch.ones(2, 2, requires_grad=True) * 2
    given = {"losses": losses_of(output), "output": output, **change}
    with pytest.raises(ValueError, match=message):
        LossBalancer(SHARES)(**given)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ({}, {}, "^weights: got {}; give at least one above 0"),
        ({"a": -1.0}, {}, r"^weights\['a'\]: got -1.0; give a finite number of at least 0"),
        (SHARES, {"decay": 1.0}, "^decay: got 1.0"),
        (SHARES, {"total_norm": 0.0}, "^total_norm: got 0.0"),
        (SHARES, {"per_sample": 1}, "^per_sample: got 1; give True or False"),
    ],
)
def test_bad_settings(weights, options, message):
    with pytest.raises(ValueError, match=message):
        LossBalancer(weights, **options)


def test_norms_are_looked_at_where_asked():
    output = torch.ones(2, 2, requires_grad=True) * 2
    losses = {"l1": output.sum() * 0.0, "adversarial": output.sum()}
    with pytest.raises(DivergedError, match=r"^losses\['l1'\]: the norm of its gradient is 0"):
        LossBalancer(SHARES)(losses, output, check_norms=True)
    x = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="^output: is 0-d"):
        LossBalancer({"l1": 1.0})({"l1": x * 2}, x)


class NoWaiting(TorchDispatchMode):
    """AssertionError for what a GPU would have to be waited for."""

    WAITING = (
        "_local_scalar_dense",
        "nonzero",
        "is_nonzero",
        "equal",
        "lift_fresh",
        "masked_select",
    )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        assert name not in self.WAITING, name
        return function(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device():
    w, z = torch.randn(5, 5, requires_grad=True), torch.randn(4, 5)
    balancer, lecam = LossBalancer(SHARES), LeCAM()
    with NoWaiting():
        for last in (w, None):
            output = z @ w
            losses = output.square().mean(), output.mean()
            scale = torch.full((), 8.0)
            GF.adaptive_weight(*losses, output, last_layer=last, scale=scale).loss.backward()
        output = z @ w
        balancer(losses_of(output), output).loss.backward()
        output = z @ w
        lecam(output, z).backward()
    with NoWaiting(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        w.sum().item()


# ---- several processes ----------------------------------------------------------------


def step(rank):
    """Weights of the part of one batch that a process has; all of it where ``rank`` is None."""
    source = torch.Generator().manual_seed(0)
    z = torch.randn(6, 4, generator=source, dtype=torch.float64)
    layer = nn.Linear(4, 5, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 20).view(5, 4))
        layer.bias.fill_(0.1)
    mine = z if rank is None else z[3 * rank : 3 * rank + 3]
    found = []
    for last in (layer.weight, None):
        output = layer(mine)
        losses = output.square().mean(), output.sigmoid().mean()
        found.append(GF.adaptive_weight(*losses, output, last_layer=last).weight)
    for per_sample in (True, False):
        output = layer(mine)
        balancer = LossBalancer(SHARES, per_sample=per_sample)
        result = balancer(losses_of(output), output)
        found += [*result.weights.values(), balancer.sums]
    output = layer(mine)
    alone = GF.adaptive_weight(output.square().mean(), output.mean(), output, all_reduce=False)
    return [*found, *gradients(layer, mine, rank), alone.weight]


def gradients(layer, z, rank):
    """Of a decoder in DistributedDataParallel, whose hooks only the one backward may set off."""
    decoder = nn.Sequential(layer, nn.Tanh(), nn.Linear(5, 5, bias=False, dtype=torch.float64))
    nn.init.eye_(decoder[2].weight)
    wrapped = decoder if rank is None else DistributedDataParallel(decoder)
    for _ in range(2):
        decoder.zero_grad()
        output = wrapped(z)
        losses = output.square().mean(), output.sigmoid().mean()
        GF.adaptive_weight(*losses, output, last_layer=decoder[2].weight).loss.backward()
    return [p.grad for p in decoder.parameters()]


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(step(rank), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_every_process_has_the_weights_of_the_whole_batch(tmp_path):
    two_processes(work, str(tmp_path), also=("torch._dynamo",))  # as DistributedDataParallel
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    whole = step(None)
    *shared, alone = zip(first, second, whole, strict=True)
    for index, (one, other, right) in enumerate(shared):
        assert torch.equal(one, other), index
        if index not in (2, 3, 4):  # a sample's norm is that of its own process's mean
            torch.testing.assert_close(one, right, rtol=1e-6, atol=0)
    assert alone[0] != alone[1]
