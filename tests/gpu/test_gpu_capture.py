"""Whole steps in a CUDA graph: the same weights as the steps one by one, and clear refusals."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import ganfast
import ganfast.functional as GF
from ganfast import linalg, optim
from ganfast.errors import InputError

CUDA = "cuda"


def network(*widths):
    layers = []
    for inside, outside in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(inside, outside, device=CUDA), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def batches(count=4):
    source = torch.Generator().manual_seed(3)
    return [
        tuple(torch.randn(8, n, generator=source).to(CUDA) for n in (2, 3)) for _ in range(count)
    ]


def game(kind):
    """A critic and a generator step, with the networks and optimizers that they change."""
    torch.manual_seed(0)
    critic, generator = network(2, 16, 1), network(3, 16, 2)
    options = {"lr": 0.01, "capturable": True}
    clip = {"weight_clip": 0.1} if kind == "clip" else {}
    made = optim.RMSprop if kind == "clip" else optim.Adam
    optimizers = [made(critic.parameters(), **options, **clip)]
    optimizers.append(made(generator.parameters(), **options))

    def critic_step(real, z):
        optimizers[0].zero_grad(set_to_none=True)
        fake = generator(z).detach()
        loss = GF.discriminator_loss(critic(real), critic(fake), game="wasserstein")
        if kind == "penalty":
            # Equal ends: the points between them do not depend on the random numbers.
            loss = loss + GF.gradient_penalty(critic, real, real, weight=10.0)
        if kind == "r1":
            points = real.requires_grad_()
            loss = loss + GF.r1_penalty(critic(points), points)
        loss.backward()
        optimizers[0].step()
        return loss

    def generator_step(z):
        optimizers[1].zero_grad(set_to_none=True)
        loss = GF.generator_loss(critic(generator(z)), game="wasserstein")
        loss.backward()
        optimizers[1].step()
        return {"loss": loss}

    return critic_step, generator_step, (critic, generator, *optimizers)


@pytest.mark.parametrize("kind", ["clip", "penalty", "r1"])
def test_a_whole_game_is_that_of_single_steps(kind):
    critic_step, generator_step, changed = game(kind)
    given = batches()
    before = copy.deepcopy([each.state_dict() for each in changed[:2]])
    fast_critic = ganfast.capture(critic_step, *given[0], restore=changed)
    fast_generator = ganfast.capture(generator_step, given[0][1], restore=changed)
    for module, state in zip(changed[:2], before, strict=True):
        assert all(torch.equal(x, state[name]) for name, x in module.state_dict().items())
    plain_critic, plain_generator, others = game(kind)
    for real, z in given:
        pairs = [(fast_critic(real, z), plain_critic(real, z))]
        pairs.append((fast_generator(z)["loss"], plain_generator(z)["loss"]))
        for mine, other in pairs:
            torch.testing.assert_close(mine, other.detach())
    for mine, other, state in zip(changed[:2], others[:2], before, strict=True):
        for p, q in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q)
        assert not all(torch.equal(x, state[name]) for name, x in mine.state_dict().items())


def test_state_that_is_there_is_kept():
    critic_step, _, changed = game("clip")
    given = batches()
    critic_step(*given[0])
    state = copy.deepcopy(changed[2].state_dict()["state"])
    fast = ganfast.capture(critic_step, *given[0], restore=changed)
    for index, values in changed[2].state_dict()["state"].items():
        assert all(torch.equal(x, state[index][name]) for name, x in values.items())
    fast(*given[1])
    assert all(values["step"] == 2 for values in changed[2].state.values())


def test_without_restore_the_warm_up_counts():
    critic_step, _, changed = game("clip")
    ganfast.capture(critic_step, *batches()[0], warm_up=2)
    assert all(values["step"] == 2 for values in changed[2].state.values())


def test_the_memory_is_the_same_from_call_to_call():
    fast = ganfast.capture(lambda x: x * 2, torch.ones(3, device=CUDA))
    assert fast.inputs[0].tolist() == [1, 1, 1]
    first = fast(torch.full((3,), 2.0, device=CUDA))
    assert first.tolist() == [4, 4, 4]
    fast.inputs[0].fill_(5)
    assert fast.replay() is first and first.tolist() == [10, 10, 10]


def test_a_step_that_draws_its_own_noise():
    fast = ganfast.capture(lambda: torch.zeros(3, device=CUDA) + 1)
    assert fast().tolist() == [1, 1, 1]


def reads_a_number(x):
    return x / x.sum().item()


def roots_of_a_batch(x):
    return linalg.sqrtm(x.mT @ x)


@pytest.mark.parametrize("step", [reads_a_number, roots_of_a_batch])
def test_what_waits_for_the_device_is_named(step):
    with pytest.raises(InputError, match=f"step: got {step.__name__}, which cannot be captured"):
        ganfast.capture(step, torch.ones(2, 4, 4, device=CUDA))
    with pytest.raises(InputError, match=r"test_gpu_capture.py:\d+ \(return"):
        ganfast.capture(step, torch.ones(2, 4, 4, device=CUDA))


def test_an_optimizer_that_is_not_capturable_is_told_how():
    weight = torch.ones(3, device=CUDA, requires_grad=True)
    optimizer = optim.Adam([weight])

    def step(x):
        optimizer.zero_grad(set_to_none=True)
        (weight * x).sum().backward()
        optimizer.step()

    with pytest.raises(InputError, match=r"restore\[0\]: got Adam .* give capturable=True"):
        ganfast.capture(step, torch.ones(3, device=CUDA), restore=[optimizer])
    assert weight.tolist() == [1, 1, 1]


def test_other_inputs_than_the_examples():
    fast = ganfast.capture(lambda x: x * 2, torch.ones(3, device=CUDA))
    for wrong, told in (
        ((), "inputs: got 0; give 1"),
        ((torch.ones(4, device=CUDA),), r"inputs\[0\]: got \(4,\), float32; give \(3,\), float32"),
        ((torch.ones(3, device=CUDA, dtype=torch.float64),), "float64; give"),
        ((1.0,), r"inputs\[0\]: got 1.0; give a tensor"),
    ):
        with pytest.raises(InputError, match=told):
            fast(*wrong)
