"""R1 and R2 on the graph of scores that exist, lazily, and DRAGAN's points."""

from __future__ import annotations

import re
from functools import partial

import pytest
import torch
from torch import nn

import ganfast.functional as GF
from ganfast.functional import critics


def mlp(inputs=3):
    return nn.Sequential(nn.Linear(inputs, 8), nn.Softplus(), nn.Linear(8, 1)).double()


def samples(n=6, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=source, dtype=torch.float64)


def by_hand(critic, x, gamma):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gamma / 2 * gradient.square().sum(1).mean()


def weight_gradients(critic, loss):
    return torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True)


def test_r2_and_both():
    """Each alone, and in one call with sides of different sizes: values and weight gradients."""
    critic, real, fake = mlp(), samples(6).requires_grad_(), samples(4, 1).requires_grad_()
    one, two, again = (by_hand(critic, x, 3.0) for x in (real, fake, fake))
    for ours, exact in (
        (GF.r2_penalty(critic(fake), fake, gamma=3.0), two),
        (GF.r1_r2_penalty(critic(real), real, critic(fake), fake, gamma=3.0), one + again),
    ):
        torch.testing.assert_close(ours, exact)
        got = weight_gradients(critic, ours)
        torch.testing.assert_close(got, weight_gradients(critic, exact))


def test_both_from_one_forward():
    critic, real, fake = mlp(), samples(6).requires_grad_(), samples(6, 1).requires_grad_()
    real_scores, fake_scores = critic(torch.cat((real, fake))).chunk(2)
    joint = GF.r1_r2_penalty(real_scores, real, fake_scores, fake, gamma=3.0)
    exact = by_hand(critic, real, 3.0) + by_hand(critic, fake, 3.0)
    torch.testing.assert_close(joint, exact)
    got = weight_gradients(critic, joint)
    torch.testing.assert_close(got, weight_gradients(critic, exact))


def test_both_walk_the_graph_once(monkeypatch):
    """The reason for one call: the gradients of both sides are asked for once."""
    critic, real, fake = mlp(), samples(6).requires_grad_(), samples(6, 1).requires_grad_()
    GF.r1_r2_penalty(critic(real), real, critic(fake), fake)  # the graph is known from now on
    calls = []
    for where, name in ((torch.autograd, "grad"), (critics, "_run_backward")):
        own = getattr(where, name)
        counted = partial(lambda own, *a, **k: (calls.append(1), own(*a, **k))[1], own)
        monkeypatch.setattr(where, name, counted)
    GF.r1_r2_penalty(critic(real), real, critic(fake), fake)
    assert calls == [1]


def test_several_inputs_and_named_scores():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(6)

        def forward(self, x):
            return {"score": self.net(torch.cat((x["a"], x["b"]), 1)), "label": None}

    critic = Pair()
    real, fake = (
        {"a": samples(5, s).requires_grad_(), "b": samples(5, s + 9).requires_grad_()}
        for s in (0, 1)
    )
    got = GF.r1_r2_penalty(critic(real), real, critic(fake), fake, gamma=2.0, scores="score")
    exact = sum(by_hand(critic.net, torch.cat((x["a"], x["b"]), 1), 2.0) for x in (real, fake))
    torch.testing.assert_close(got, exact)


PENALTIES = {
    "r1_penalty": lambda critic, x, **kw: GF.r1_penalty(critic(x), x, **kw),
    "r2_penalty": lambda critic, x, **kw: GF.r2_penalty(critic(x), x, **kw),
    "r1_r2_penalty": lambda critic, x, **kw: GF.r1_r2_penalty(critic(x), x, critic(x), x, **kw),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_every_is_a_weight(name):
    critic, x = mlp(), samples().requires_grad_()
    once = PENALTIES[name](critic, x, gamma=0.3)
    torch.testing.assert_close(PENALTIES[name](critic, x, gamma=0.3, every=16), 16 * once)
    for bad, said in ((0, "every: got 0"), (-3, "every: got -3"), (1.5, "every: got 1.5")):
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(said)}") as raised:
            PENALTIES[name](critic, x, every=bad)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_due_on_scores_without_a_graph(name):
    critic, x = mlp(), samples().requires_grad_()
    side = "fake" if name == "r2_penalty" else "real"
    with pytest.raises(ValueError, match=f"^{side}_scores: the scores do not depend on the inputs"):
        PENALTIES[name](lambda x: critic(x).detach(), x, every=4)
    with pytest.raises(ValueError, match=f"^{side}_inputs: do not require gradients"):
        PENALTIES[name](critic, samples(), every=4)


def test_the_side_that_is_wrong_is_named():
    critic, real, fake = mlp(), samples().requires_grad_(), samples(6, 1)
    with pytest.raises(ValueError, match=r"^fake_inputs: do not require .* fake_inputs\.requires"):
        GF.r1_r2_penalty(critic(real), real, critic(fake), fake)
    fake.requires_grad_()
    with pytest.raises(ValueError, match="^fake_scores: the scores do not depend"):
        GF.r1_r2_penalty(critic(real), real, critic(fake.detach()), fake)
    with pytest.raises(ValueError, match=r"^real_inputs, .*|^real_inputs\[1\]: got 4 samples"):
        GF.r1_r2_penalty(critic(real), [real, samples(4)], critic(fake), fake)


def test_inside_torch_compile_the_way_out_is_named():
    critic, x = mlp(), samples()
    with pytest.raises(RuntimeError, match="^r1_r2_penalty: .*at='both'"):
        torch.func.grad(lambda x: GF.r1_r2_penalty(critic(x), x, critic(x), x))(x)


# ---- the walk through the graph --------------------------------------------------------


def walks(monkeypatch):
    found, graph = [], critics._graph
    monkeypatch.setattr(critics, "_graph", lambda root: (found.append(1), graph(root))[1])
    return found


@pytest.mark.parametrize("bias", [True, False])
def test_a_graph_is_looked_through_once_for_each_critic(monkeypatch, bias):
    found = walks(monkeypatch)
    made = [
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1, bias=bias), nn.Flatten(0))
        for _ in range(2)
    ]
    for count, critic in enumerate(made, 1):
        for _ in range(3):
            x = torch.randn(5, 3, requires_grad=True)
            GF.r1_penalty(critic(x), x)
            GF.gradient_penalty(lambda x, critic=critic: critic(x), x, x)
        assert len(found) == count


def test_where_there_is_no_weight_it_is_looked_through_each_time(monkeypatch):
    found = walks(monkeypatch)
    for _ in range(2):
        x = torch.randn(5, 3, requires_grad=True)
        GF.r1_penalty(x.square().sum(1), x)
    assert len(found) == 2


# ---- Adam's settings -------------------------------------------------------------------


def test_lazy_adam():
    """lr c and beta^c with c = k / (k + 1), as in StyleGAN2; torch's Adam takes them."""
    found = GF.lazy_adam(16, lr=0.002, betas=(0.0, 0.99))
    assert found["lr"] == pytest.approx(0.002 * 16 / 17)
    assert found["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    torch.optim.Adam([torch.zeros(1, requires_grad=True)], **found)
    # Over k + 1 steps the averages forget what they forgot over k.
    assert found["betas"][1] ** 17 == pytest.approx(0.99**16)
    for options, said in (
        ({"every": 0}, "every: got 0"),
        ({"betas": (0.9,)}, "betas: got"),
        ({"betas": (0.9, 1.0)}, r"betas\[1\]: got 1.0"),
        ({"lr": -1.0}, "lr: got -1"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{said}"):
            GF.lazy_adam(**{"every": 4, "lr": 0.1, "betas": (0.5, 0.9), **options})


# ---- DRAGAN ----------------------------------------------------------------------------


def test_perturbed_points():
    """real + eps s u / 2: eps of a sample, u of an element, s of all of real; without fakes."""
    seen = []

    def critic(x):
        seen.append(x.detach().clone())
        return x.square().sum(1)

    real = 3 * torch.randn(4000, 5).double() + 1
    GF.gradient_penalty(
        critic, real, None, at="perturbed", generator=torch.Generator().manual_seed(0)
    )
    moved = (seen[0] - real) / (0.5 * real.std(correction=0))
    assert moved.min() >= 0 and moved.max() < 1
    assert moved.mean() == pytest.approx(0.25, abs=0.01)  # E[eps] E[u]
    assert moved.square().mean() == pytest.approx(1 / 9, abs=0.01)
    # One eps for all elements of a sample ties them together: E[eps^2] E[u]^2 between two of them.
    assert (moved[:, 0] * moved[:, 1]).mean() == pytest.approx(1 / 12, abs=0.01)
    GF.gradient_penalty(
        critic, real, None, at="perturbed", generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_perturbed_penalty_of_a_linear_critic(dtype):
    weight = torch.tensor([3.0, 4.0], dtype=dtype, requires_grad=True)
    real = torch.randn(7, 2).to(dtype)
    value = GF.gradient_penalty(lambda x: x @ weight, real, None, at="perturbed", weight=1.0)
    assert value.item() == pytest.approx((5 - 1) ** 2, rel=1e-3)
    (gradient,) = torch.autograd.grad(value, weight)
    torch.testing.assert_close(gradient, 2 * 4 * weight.detach() / 5, rtol=1e-3, atol=0)


def test_perturbed_several_inputs_and_compilation():
    real = [samples(), 100 * samples(6, 1)]
    seen = []

    def critic(x):
        seen.append([each.detach() for each in x])
        return x[0].sum(1) + x[1].sum(1)

    GF.gradient_penalty(critic, real, None, at="perturbed")
    for points, x in zip(seen[0], real, strict=True):  # each by its own deviation
        assert 0 < (points - x).max() < 0.5 * x.std(correction=0)
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(
        lambda x: GF.gradient_penalty(lambda y: y @ weight, x, None, at="perturbed", weight=1.0),
        fullgraph=True,
        backend="aot_eager",
    )
    torch.testing.assert_close(compiled(real[0]).item(), (3**0.5 - 1) ** 2, rtol=1e-9, atol=0)
