"""The penalty under autocast, with a GradScaler, and in two processes."""

from __future__ import annotations

import gc

import pytest
import torch
import torch.distributed as dist
from helpers import two_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import ganfast.functional as GF


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_critic():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 1))


def step_gradients(critic, real, fake, dtype=None, scale=None):
    """The weight gradients of a whole critic step."""
    critic.zero_grad()
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        loss = GF.discriminator_loss(critic(real), critic(fake), game="wasserstein")
        penalty = GF.gradient_penalty(critic, real, fake, generator=seeded())
        loss = loss + penalty
    assert penalty.dtype == torch.float32
    (loss if scale is None else scale(loss)).backward()
    return [p.grad.clone() for p in critic.parameters()]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    """Half precision in the critic, float32 in the penalty: off by the half precision's roundings
    alone. The scores' gradients are of order one, so nothing is lost below float16's smallest."""
    critic, real, fake = a_critic(), torch.randn(32, 6), torch.randn(32, 6)
    exact = step_gradients(critic, real, fake)
    for got, truth in zip(step_gradients(critic, real, fake, dtype), exact, strict=True):
        assert got.dtype == torch.float32
        # A few roundings of the scores, each the dtype's own.
        assert (got - truth).norm() <= 6 * torch.finfo(dtype).eps * truth.norm() + 1e-6


def test_half_precision_fakes_and_scores_beyond_the_range():
    """A generator under autocast gives half precision; the sum of many scores is not formed."""
    critic, real = a_critic(), torch.randn(8, 6)
    fake = torch.randn(8, 6).half()
    value = GF.gradient_penalty(critic, real, fake, generator=seeded())
    expected = GF.gradient_penalty(critic, real, fake.float(), generator=seeded())
    assert torch.equal(value, expected)
    large = GF.gradient_penalty(
        lambda x: critic(x).half() + 6e4, real, real, at="real", generator=seeded()
    )
    assert large.isfinite()


@pytest.mark.parametrize("scale", [1.0, 2.0**16])
def test_grad_scaler(scale):
    """Only the loss is scaled: after unscaling the gradients are those without a scaler. A scaled
    inner gradient would have its norm compared with 1."""
    critic, real, fake = a_critic(), torch.randn(32, 6), torch.randn(32, 6)
    exact = step_gradients(critic, real, fake)
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    step_gradients(critic, real, fake, scale=scaler.scale)
    scaler.unscale_(optimizer)
    for p, truth in zip(critic.parameters(), exact, strict=True):
        torch.testing.assert_close(p.grad, truth, rtol=1e-5, atol=1e-7)
    before = critic[0].weight.detach().clone()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == scale, "no step was skipped"
    torch.testing.assert_close(critic[0].weight.detach(), before - 0.1 * exact[0])


def test_grad_scaler_skips_a_step_that_overflowed():
    critic, real = a_critic(), torch.randn(8, 6)
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = [p.detach().clone() for p in critic.parameters()]
    scaler.scale(GF.gradient_penalty(critic, 1e3 * real, real, weight=1e3)).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() < 2.0**127
    assert all(torch.equal(a, b) for a, b in zip(before, critic.parameters(), strict=True))


# ---- two processes --------------------------------------------------------------------


def parallel_gradients(which, real, fake, points):
    critic = a_critic().double()
    parallel = DistributedDataParallel(critic)
    for _ in range(2):  # the second finds what the first left unfinished
        parallel.zero_grad()
        loss = GF.discriminator_loss(parallel(real), parallel(fake), game="wasserstein")
        penalised = parallel if which == "wrapped" else parallel.module
        loss = loss + GF.gradient_penalty(penalised, points, None, at="real")
        loss.backward()
    return [p.grad for p in critic.parameters()]


def batch_norm(real, fake, points):
    # Three forwards before one backward, each of which writes the running statistics in place.
    # torch 2.11 also broadcasts them at each forward, which its own backward then refuses (2.13's
    # does not): the cure there is the one below.
    torch.manual_seed(1)
    critic = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.SiLU(), nn.Linear(32, 1))
    critic.double()
    parallel = DistributedDataParallel(critic, broadcast_buffers=False)
    loss = GF.discriminator_loss(parallel(real), parallel(fake), game="wasserstein")
    loss = loss + GF.gradient_penalty(parallel, points, None, at="real")
    loss.backward()
    return [p.grad for p in critic.parameters()]


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    batch = [x.chunk(2)[rank] for x in torch.load(f"{folder}/batch.pt")]
    found = {which: parallel_gradients(which, *batch) for which in ("wrapped", "module")}
    found["batch norm"] = batch_norm(*batch)
    torch.save(found, f"{folder}/{rank}.pt")
    # Nobody leaves, and no wrapper still holds the group, while its threads may be at work.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_two_processes_give_the_gradients_of_one(tmp_path):
    """pytorch #47562: autograd.grad under DistributedDataParallel; #175024: a batch norm's running
    statistics, written in place by three forwards before one backward."""
    real, fake = torch.randn(16, 6).double(), torch.randn(16, 6).double()
    points = GF.interpolate(real, fake)
    torch.save([real, fake, points], tmp_path / "batch.pt")
    two_processes(work, str(tmp_path), also=("torch._dynamo",))  # as DistributedDataParallel
    critic = a_critic().double()

    loss = GF.gradient_penalty(critic, points, None, at="real")
    loss = loss + GF.discriminator_loss(critic(real), critic(fake), game="wasserstein")
    loss.backward()
    expected = [p.grad for p in critic.parameters()]
    normed = []
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        for which in ("wrapped", "module"):
            torch.testing.assert_close(found[which], expected)
        normed.append(found["batch norm"])
    torch.testing.assert_close(*normed)
    assert all(x.isfinite().all() for x in normed[0]) and normed[0][0].ne(0).any()
