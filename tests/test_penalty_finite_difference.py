"""The penalty without double backward: what it estimates, with which bias and which variance."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import ganfast.functional as GF


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_exact_in_expectation_for_linear_and_quadratic_critics():
    """A central difference has no error of second order: with many directions, ||g||^2 remains."""
    n, d = 200_000, 4
    a, matrix = torch.randn(d).double(), torch.randn(d, d).double()
    x = torch.randn(d).double().expand(n, d)
    for critic, gradient in (
        (lambda x: x @ a, a),
        (lambda x: x @ a + ((x @ matrix) * x).sum(1), a + (matrix + matrix.T) @ x[0]),
    ):
        exact = float(gradient.square().sum())
        for sigma in (1e-3, 1.0):
            got = GF.finite_difference_penalty(
                critic, x, sigma=sigma, gamma=2.0, generator=seeded()
            )
            assert abs(float(got) - exact) < 4 * exact * math.sqrt(2 / n)


@pytest.mark.parametrize("sigma", [0.1, 0.3])
def test_bias(sigma):
    """D = sum_k g_k x_k + b_k x_k^3 at 0: the bias of ||g||^2 is 6 s^2 sum g b + 15 s^4 sum b^2."""
    n = 400_000
    g, b = torch.tensor([1.0, -0.5, 2.0]).double(), torch.tensor([0.5, 0.3, 0.8]).double()
    x = torch.zeros(n, 3).double()
    noise = torch.empty_like(x).normal_(generator=seeded())
    got = GF.finite_difference_penalty(
        lambda x: (g * x + b * x**3).sum(1), x, sigma=sigma, gamma=2.0, generator=seeded()
    )
    # The same directions on the linear part alone: what is left is the bias, not the variance.
    without = (noise @ g).square().mean()
    bias = 6 * sigma**2 * (g * b).sum() + 15 * sigma**4 * (b * b).sum()
    spread = ((noise @ g + sigma**2 * (noise**3 @ b)).square() - (noise @ g).square()).std()
    assert abs((got - without) - bias) < 4 * spread / math.sqrt(n)
    assert bias > 20 * spread / math.sqrt(n), "or this test could not fail"


def test_variance():
    """2 ||g||^4 for one sample's estimate."""
    n, g = 200_000, torch.tensor([3.0, -1.0, 2.0]).double()
    estimates = torch.stack(
        [
            GF.finite_difference_penalty(
                lambda x: x @ g, torch.zeros(1, 3).double(), sigma=0.01, gamma=2.0,
                generator=generator,
            )
            for generator in [seeded(1)]
            for _ in range(2000)
        ]
    )  # fmt: skip
    expected = 2 * float(g.square().sum()) ** 2
    # The fourth moment of a chi-square of one degree makes the variance itself uncertain by 7.5 x.
    assert float(estimates.var()) == pytest.approx(expected, rel=4 * math.sqrt(15 / 2000) * 1.6)
    whole = GF.finite_difference_penalty(
        lambda x: x @ g, torch.zeros(n, 3).double(), sigma=0.01, gamma=2.0, generator=seeded()
    )
    exact = float(g.square().sum())
    assert 0 < abs(float(whole) - exact) < 4 * exact * math.sqrt(2 / n)


def test_its_weight_gradients_estimate_r1s():
    critic = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1)).double()
    x = torch.randn(1, 2).double().expand(100_000, 2)
    exact = torch.autograd.grad(
        GF.gradient_penalty(critic, x[:1], None, at="real", target=0.0, weight=5.0),
        critic[0].weight,
    )[0]
    got = torch.autograd.grad(
        GF.finite_difference_penalty(critic, x, sigma=1e-3, gamma=10.0, generator=seeded()),
        critic[0].weight,
    )[0]
    assert (got - exact).norm() < 0.03 * exact.norm()


def test_why_another_target_is_refused():
    """E[(c |n . g| - 1)^2] with c E|n . g| = ||g|| is least at ||g|| = 2/pi: not at the target."""
    projection = torch.randn(400_000, dtype=torch.float64).abs() * math.sqrt(math.pi / 2)
    norms = torch.linspace(0.3, 1.2, 181, dtype=torch.float64)
    costs = torch.stack([(r * projection - 1).square().mean() for r in norms])
    assert float(norms[costs.argmin()]) == pytest.approx(2 / math.pi, abs=0.02)
    with pytest.raises(ValueError, match="target: got 1.0; .* norm of 2/pi"):
        GF.finite_difference_penalty(lambda x: x, torch.zeros(3, 1), sigma=0.1, target=1.0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_it_serves_where_double_backward_does_not():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(3, 32)

        def forward(self, x):
            heads = self.embed(x).view(len(x), 2, 2, 8)
            return nn.functional.scaled_dot_product_attention(heads, heads, heads).sum((1, 2, 3))

    for critic in (Attention(), torch.compile(nn.Linear(3, 1), backend="aot_eager")):
        GF.finite_difference_penalty(critic, torch.randn(4, 3), sigma=0.01).backward()
        assert all(
            p.grad is not None for name, p in critic.named_parameters() if "bias" not in name
        )


def test_heads_maps_kwargs_and_detached_inputs():
    one, two = nn.Linear(3, 4).double(), nn.Linear(3, 1).double()
    x = torch.randn(5, 3).double().requires_grad_()

    def heads(x, scale):
        return scale * one(x).view(-1, 1, 2, 2), [scale * two(x)]

    got = GF.finite_difference_penalty(
        heads, x, sigma=0.1, generator=seeded(), critic_kwargs={"scale": 2.0}
    )
    joined = GF.finite_difference_penalty(
        lambda x: 2 * (one(x).sum(1) + two(x).sum(1)), x, sigma=0.1, generator=seeded()
    )
    torch.testing.assert_close(got, joined)
    got.backward()
    assert x.grad is None


@pytest.mark.parametrize(
    ("critic", "options", "message"),
    [
        (lambda x: x, {"sigma": 0.0}, "sigma: got 0.0"),
        (lambda x: x, {"sigma": float("nan")}, "sigma: got nan"),
        (lambda x: x, {"sigma": "auto"}, "sigma: got 'auto'"),
        (lambda x: x, {"sigma": 0.1, "gamma": -2.0}, "gamma: got -2.0"),
        (lambda x: x.sum(), {"sigma": 0.1}, r"scores of shape \(\) for 3 samples"),
        (lambda x: x.sum(0), {"sigma": 0.1}, r"scores of shape \(2,\) for 3 samples"),
    ],
)
def test_bad_input(critic, options, message):
    with pytest.raises(ValueError, match=message):
        GF.finite_difference_penalty(critic, torch.zeros(3, 2), **options)


# ---- from the scores that exist --------------------------------------------------------


def test_forward_difference_of_the_scores_that_exist():
    """One forward: ((D(x + sigma n) - D(x)) / sigma)^2, its gradient through both scores."""
    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x, calls = torch.randn(6, 3).double(), []

    def counted(x):
        calls.append(1)
        return critic(x)

    scores = critic(x)
    got = GF.finite_difference_penalty(
        counted, x, sigma=0.1, gamma=3.0, generator=seeded(), inputs_scores=scores
    )
    noise = torch.empty_like(x).normal_(generator=seeded())
    exact = 1.5 * ((critic(x + 0.1 * noise) - critic(x)) / 0.1).square().mean()
    assert calls == [1]
    torch.testing.assert_close(got, exact)
    weights = list(critic.parameters())
    theirs = torch.autograd.grad(exact, weights)
    torch.testing.assert_close(torch.autograd.grad(got, weights), theirs)


def test_bias_of_the_forward_difference():
    """sigma^2 / 4 ((tr H)^2 + 2 ||H||^2), which a central difference does not have."""
    n, sigma = 400_000, 0.3
    g, hessian = torch.tensor([1.0, -0.5]).double(), torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double()

    def critic(x):
        return x @ g + ((x @ hessian) * x).sum(1) / 2

    x = torch.zeros(n, 2).double()
    got = GF.finite_difference_penalty(
        critic, x, sigma=sigma, gamma=2.0, generator=seeded(), inputs_scores=critic(x)
    )
    without = (torch.empty_like(x).normal_(generator=seeded()) @ g).square().mean()
    bias = sigma**2 / 4 * (hessian.trace() ** 2 + 2 * hessian.square().sum())
    assert abs((got - without) - bias) < 0.05 * bias


def test_apt_and_fastgen_weights():
    """lambda * mean((D(x + sigma n) - D(x))^2) is gamma = 2 lambda sigma^2."""
    critic, x, sigma = nn.Linear(4, 1).double(), torch.randn(9, 4).double(), 0.01
    noise = torch.empty_like(x).normal_(generator=seeded())
    theirs = 100.0 * (critic(x + sigma * noise) - critic(x)).square().mean()
    ours = GF.finite_difference_penalty(
        critic, x, sigma=sigma, gamma=0.02, generator=seeded(), inputs_scores=critic(x)
    )
    torch.testing.assert_close(ours, theirs)


def test_scores_that_cannot_be_those_of_the_inputs():
    critic, x = nn.Linear(4, 1), torch.randn(9, 4)
    for scores, said in (
        (critic(x)[:5], r"inputs_scores: got shapes \[\(5, 1\)\] where the critic returned"),
        (critic(x).detach(), "inputs_scores: have no graph"),
    ):
        with pytest.raises(ValueError, match=f"^{said}"):
            GF.finite_difference_penalty(critic, x, sigma=0.1, inputs_scores=scores)
    with torch.no_grad():  # nothing needs a graph there
        assert GF.finite_difference_penalty(critic, x, sigma=0.1, inputs_scores=critic(x)) >= 0


@pytest.mark.parametrize("form", [list, tuple, lambda x: dict(zip("ab", x, strict=True))])
@pytest.mark.parametrize("known", [False, True])
def test_several_inputs(form, known):
    """By hand, each tensor with noise of its own, drawn in order from one generator."""
    a, b = torch.randn(6, 3).double(), torch.randn(6, 2, 2).double()
    one, two = torch.randn(3).double(), torch.randn(2, 2).double()

    def score(a, b):
        return (a @ one).tanh() * (b * two).sum((1, 2)) + b.square().sum((1, 2))

    def critic(inputs):
        assert type(inputs) is type(form([a, b]))
        return score(*(inputs.values() if isinstance(inputs, dict) else inputs))

    got = GF.finite_difference_penalty(
        critic, form([a, b]), sigma=0.1, gamma=3.0, generator=seeded(),
        inputs_scores=score(a, b) if known else None,
    )  # fmt: skip
    source = seeded()
    of_a = 0.1 * torch.empty_like(a).normal_(generator=source)
    of_b = 0.1 * torch.empty_like(b).normal_(generator=source)
    behind = score(a, b) if known else score(a - of_a, b - of_b)
    slope = (score(a + of_a, b + of_b) - behind) / (0.1 if known else 0.2)
    torch.testing.assert_close(got, 1.5 * slope.square().mean())


def test_several_inputs_estimate_r1_over_all_of_them():
    n, g = 200_000, torch.tensor([3.0, -1.0, 2.0]).double()
    x = torch.zeros(n, 3).double()
    got = GF.finite_difference_penalty(
        lambda each: each[0] @ g[:1] + each[1] @ g[1:], [x[:, :1], x[:, 1:]], sigma=0.01, gamma=2.0,
        generator=seeded(),
    )  # fmt: skip
    exact = float(g.square().sum())
    assert abs(float(got) - exact) < 4 * exact * math.sqrt(2 / n)


def test_several_inputs_of_other_numbers_of_samples():
    with pytest.raises(ValueError, match=r"inputs\[1\]: got 3 samples where inputs\[0\] has 2"):
        GF.finite_difference_penalty(lambda x: x[0], [torch.ones(2), torch.ones(3)], sigma=0.1)
    with pytest.raises(TypeError, match="inputs: got a str"):
        GF.finite_difference_penalty(lambda x: x, "images", sigma=0.1)
