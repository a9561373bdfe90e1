"""docs/steps.md: every block runs, and each step has the loss and the update of its formula."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganfast._csrc_path import csrc_dir

PAGE = (csrc_dir().parent / "docs" / "steps.md").read_text(encoding="utf-8")
NAMES: dict[str, Any] = {}
for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
    exec(block, NAMES)


class Counted(nn.Module):
    """A critic that counts its forwards; straight, so that WGAN-GP's points do not matter."""

    def __init__(self, curved: bool) -> None:
        super().__init__()
        between = nn.Tanh() if curved else nn.Identity()
        self.net = nn.Sequential(nn.Linear(3, 5), between, nn.Linear(5, 1)).double()
        self.forwards = 0

    def forward(self, x):
        self.forwards += 1
        return self.net(x)


def square_norms(critic, x):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic.net(x).sum(), x, create_graph=True)
    return gradient.square().sum(1)


def wgan_gp(critic, real, fake):
    penalty = 10 * (square_norms(critic, real).sqrt() - 1).square().mean()
    return critic.net(fake).mean() - critic.net(real).mean() + penalty


def logistic(critic, real, fake):
    return F.softplus(-critic.net(real)).mean() + F.softplus(critic.net(fake)).mean()


def r1_due(critic, real, fake):
    return logistic(critic, real, fake) + 16 * 5 * square_norms(critic, real).mean()


def r3gan(critic, real, fake):
    penalty = (square_norms(critic, real).mean() + square_norms(critic, fake).mean()) / 2
    return F.softplus(critic.net(fake) - critic.net(real)).mean() + penalty


STEPS = {
    "wgan_gp_step": (wgan_gp, {}, 3),
    "r1_step": (r1_due, {"step": 32}, 2),
    "r1_step between": (logistic, {"step": 33}, 2),
    "r3gan_step": (r3gan, {}, 2),
}


def players(curved=True):
    torch.manual_seed(0)
    critic, generator = Counted(curved), nn.Linear(2, 3).double()
    real, noise = torch.randn(6, 3).double(), torch.randn(6, 2).double()
    return critic, generator, real, noise


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_its_formula(name):
    """The same loss and the same weights after SGD, with no forward more than it needs."""
    formula, options, forwards = STEPS[name]
    critic, generator, real, noise = players(curved=name != "wgan_gp_step")
    twin = copy.deepcopy(critic)
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    step = NAMES[name.split()[0]]
    loss = step(critic, generator, optimizer, real, noise, **options)
    assert critic.forwards == forwards
    exact = formula(twin, real, generator(noise).detach())
    torch.testing.assert_close(loss, exact.detach())
    exact.backward()
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    for mine, theirs in zip(critic.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert all(p.grad is None for p in generator.parameters())


def test_the_generators_step():
    critic, generator, real, noise = players()
    twin = copy.deepcopy(generator)
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    loss = NAMES["r3gan_generator_step"](critic, generator, optimizer, real, noise)
    exact = F.softplus(critic.net(real) - critic.net(twin(noise))).mean()
    torch.testing.assert_close(loss, exact.detach())
    exact.backward()
    for mine, theirs in zip(generator.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs - 0.1 * theirs.grad)
    assert all(p.requires_grad for p in critic.parameters())


def test_the_approximate_step():
    """Three forwards; the penalty is one of R1's in expectation."""
    critic, generator, _, noise = players()
    real = torch.randn(1, 3).double().expand(20_000, 3)
    exact = logistic(critic, real, generator(noise)) + 5 * square_norms(critic, real).mean()
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    loss = NAMES["approximate_r1_step"](critic, generator, optimizer, real, noise)
    assert critic.forwards == 3
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)


def test_every_step_of_the_page_is_tested():
    tested = {name.split()[0] for name in STEPS} | {"r3gan_generator_step", "approximate_r1_step"}
    assert {name for name in NAMES if name.endswith("_step")} == tested
