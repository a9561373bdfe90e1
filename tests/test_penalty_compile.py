"""The penalty inside torch.compile(fullgraph=True): its second order is there, and is eager's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ganfast.functional as GF

# Inductor's own imports warn; nothing of ours does.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CRITICS = {
    "relu": lambda: nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)),
    "silu": lambda: nn.Sequential(nn.Linear(6, 8), nn.SiLU(), nn.Linear(8, 1)),
    "conv": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1)
    ),
}


def together():
    """For Inductor, each of whose kernels is a file for the C++ compiler: the layers in one."""
    stem = nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.SiLU(), nn.Flatten()
    return nn.Sequential(*stem, nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()


def gradients(critic, function, *samples):
    critic.zero_grad()
    loss = function(*samples)
    loss.backward()
    return [loss.detach()] + [p.grad.clone() for p in critic.parameters() if p.grad is not None]


def critic_step(critic, **options):
    def step(real, fake):
        loss = GF.discriminator_loss(critic(real), critic(fake), game="nonsaturating")
        return loss + GF.gradient_penalty(critic, real, fake, **options)

    return step


@pytest.mark.parametrize(
    ("make", "at", "backend"),
    [(make, "both", "aot_eager") for make in CRITICS.values()]
    + [pytest.param(together, "real", "inductor", marks=pytest.mark.slow)],
    ids=[*CRITICS, "inductor"],
)
def test_weight_gradients_are_eagers(make, at, backend):
    """A whole critic step in one graph. pytorch #181581: an earlier compiler gave the value and
    dropped the penalty's gradient silently."""
    critic = make()
    real, fake = torch.randn(16, 6), torch.randn(16, 6)
    step = critic_step(critic, at=at)
    compiled = torch.compile(step, fullgraph=True, dynamic=False, backend=backend)
    torch.testing.assert_close(
        gradients(critic, compiled, real, fake), gradients(critic, step, real, fake)
    )
    alone = critic_step(critic, at=at, weight=0.0)
    with_penalty, without = (gradients(critic, f, real, fake) for f in (step, alone))
    assert not torch.allclose(with_penalty[1], without[1], rtol=0.1), "the penalty takes part"
    GF.check_second_order(lambda: compiled(real, fake), critic.parameters(), tolerance=0.1)


def test_interpolated_points_draw_anew():
    """Everything in one graph: eps, the interpolation, both derivatives."""
    critic = CRITICS["silu"]()
    real, fake = torch.randn(16, 6), torch.randn(16, 6)

    def step(real, fake):
        return GF.gradient_penalty(critic, real, fake)

    compiled = torch.compile(step, fullgraph=True, dynamic=False, backend="aot_eager")
    values = [float(compiled(real, fake).detach()) for _ in range(8)]
    assert len(set(values)) == 8
    eager = [float(step(real, fake).detach()) for _ in range(200)]
    assert min(eager) - 0.5 < min(values) and max(values) < max(eager) + 0.5
    for parameter in gradients(critic, compiled, real, fake)[1:3]:
        assert parameter.ne(0).any()


@pytest.mark.parametrize(
    "options", [{}, {"target": 0.0}, {"one_sided": True}, {"group_size": 2}], ids=str
)
def test_from_gradient_fullgraph(options):
    compiled = torch.compile(
        GF.penalty_from_gradient, fullgraph=True, dynamic=False, backend="aot_eager"
    )
    results = []
    for function in (compiled, GF.penalty_from_gradient):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
        value = function(x, **options)
        results.append((value.detach(), *torch.autograd.grad(value, x)))
    torch.testing.assert_close(*results)


def test_finite_differences_fullgraph():
    critic = CRITICS["silu"]()
    real = torch.randn(512, 6)

    def step(real):
        return GF.finite_difference_penalty(critic, real, sigma=0.05)

    compiled = torch.compile(step, fullgraph=True, dynamic=False, backend="aot_eager")
    exact = GF.gradient_penalty(critic, real, None, at="real", target=0.0, weight=5.0).detach()
    assert compiled(real).detach().item() == pytest.approx(exact.item(), rel=0.3)
    assert gradients(critic, compiled, real)[1].ne(0).any()


def test_r1_says_what_to_do_instead():
    critic = CRITICS["silu"]()

    def step(real):
        return GF.r1_penalty(critic(real), real)

    words = "at='real', target=0.0, weight=gamma / 2"
    if torch.__version__ < "2.9":
        words = "RuntimeError"  # Dynamo's own message held nothing of ours
    with pytest.raises(Exception, match=words):
        torch.compile(step, backend="eager", fullgraph=True)(torch.randn(4, 6, requires_grad=True))


def test_torch_func_over_the_penalty():
    """functional_call and grad: the other way to differentiate the weights."""
    critic = CRITICS["silu"]()
    x = torch.randn(4, 6)

    def penalty(weights):
        def call(x):
            return torch.func.functional_call(critic, weights, (x,))

        return GF.gradient_penalty(call, x, x, at="real")

    weights = {name: p.detach() for name, p in critic.named_parameters()}
    got = torch.func.grad(penalty)(weights)
    value = GF.gradient_penalty(critic, x, x, at="real")
    expected = torch.autograd.grad(value, critic[0].weight)[0]
    torch.testing.assert_close(got["0.weight"], expected)


# ---- the self-check ------------------------------------------------------------------


def test_the_check_accepts_what_is_right_and_moves_nothing():
    for name in CRITICS:
        critic, x = CRITICS[name](), torch.randn(8, 6)
        before = [p.clone() for p in critic.parameters()]
        GF.check_second_order(
            lambda: GF.gradient_penalty(critic, x, x, at="real"),  # noqa: B023
            critic.parameters(),
            tolerance=0.1,
        )
        assert all(torch.equal(a, b) for a, b in zip(before, critic.parameters(), strict=True))


@pytest.mark.parametrize("fault", ["lost", "half", "partly", "constant"])
def test_the_check_finds_what_is_lost(fault):
    critic, x = CRITICS["silu"](), torch.randn(8, 6)

    def penalty():
        points = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
        if fault == "lost":  # as pytorch #181581: a value without its gradient
            g = g.detach() + 0 * critic[0].weight.sum()
        if fault == "half":
            g = g.detach() + (g - g.detach()) / 2
        if fault == "constant":
            g = g.detach()
        if fault == "partly":  # the last layer only
            g = g.detach() + 0 * g
            g = g + critic[2].weight.mean() - critic[2].weight.mean().detach()
        return GF.penalty_from_gradient(g)

    with pytest.raises(RuntimeError, match="second order is lost"):
        GF.check_second_order(penalty, critic.parameters())


def test_the_checks_own_refusals():
    critic, x = CRITICS["silu"](), torch.randn(8, 6)

    def penalty():
        return GF.gradient_penalty(critic, x, -x)

    with pytest.raises(ValueError, match="the same scalar at each call"):
        GF.check_second_order(penalty, critic.parameters())
    with pytest.raises(ValueError, match="parameters: none requires gradients"):
        GF.check_second_order(penalty, [x])
    with pytest.raises(RuntimeError, match="no parameter gets a gradient"):
        GF.check_second_order(
            lambda: GF.gradient_penalty(critic, x, x, at="real"), [nn.Parameter(torch.ones(1))]
        )
