"""The gradient penalty against what it says it is, sample by sample."""

import pytest
import torch
from torch import nn

from ganfast.train.penalty import gradient_penalty, penalty_from_gradient


@pytest.mark.parametrize("shape", [(5, 2), (4, 3, 8, 8), (1, 7)])
def test_the_norm_is_per_sample(shape):
    gradient = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    total = sum(
        (float(sample.double().square().sum()) ** 0.5 - 1) ** 2 for sample in gradient
    ) / len(gradient)
    assert float(penalty_from_gradient(gradient)) == pytest.approx(total, rel=1e-6)


def test_a_linear_critic_has_a_known_penalty_and_gradient():
    critic = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0)).double()
    nn.init.constant_(critic[0].weight, 3.0)  # ||grad|| = 3 sqrt 2 everywhere
    real, fake = torch.randn(6, 2).double(), torch.randn(6, 2).double()
    penalty = gradient_penalty(critic, real, fake)
    norm = 3 * 2**0.5
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-12)
    penalty.backward()
    expected = 2 * (norm - 1) * critic[0].weight.detach() / norm
    torch.testing.assert_close(critic[0].weight.grad, expected)


def test_second_order_by_finite_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double()
    real, fake = torch.randn(5, 3).double(), torch.randn(5, 3).double()

    def penalty(weight):
        with torch.no_grad():
            critic[0].weight.copy_(weight)
        return gradient_penalty(critic, real, fake, generator=torch.Generator().manual_seed(1))

    weight = critic[0].weight.detach().clone()
    (gradient,) = torch.autograd.grad(penalty(weight), critic[0].weight)
    direction, h = torch.randn_like(weight), 1e-6
    ahead, behind = penalty(weight + h * direction), penalty(weight - h * direction)
    slope = (ahead - behind).item() / (2 * h)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_finite_at_a_zero_gradient():
    gradient = torch.zeros(3, 4, requires_grad=True)
    penalty = penalty_from_gradient(gradient)
    assert penalty.item() == 1
    penalty.backward()
    assert gradient.grad.eq(0).all()
    mixed = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    penalty_from_gradient(mixed).backward()
    torch.testing.assert_close(mixed.grad, torch.tensor([[0.0, 0.0], [2.4, 3.2]]))


def test_one_eps_per_sample_between_real_and_fake():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x.detach())
            return x.flatten(1).sum(1)

    real, fake = torch.ones(64, 1, 4, 4), torch.zeros(64, 1, 4, 4)
    gradient_penalty(Spy(), real, fake, generator=torch.Generator().manual_seed(0))
    eps = seen[0].flatten(1)
    assert (eps == eps[:, :1]).all()  # not one per pixel
    assert eps[:, 0].unique().numel() == 64  # not one per batch
    assert float(eps.min()) >= 0 and float(eps.max()) <= 1
    assert 0.3 < float(eps.mean()) < 0.7


def test_the_fakes_are_not_differentiated():
    fake = torch.randn(4, 2, requires_grad=True)
    critic = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    gradient_penalty(critic, torch.randn(4, 2), fake).backward()
    assert fake.grad is None
