"""torch.compile(fullgraph=True) traces the reference, and means the same as eager."""

from __future__ import annotations

import pytest
import torch
from truth import LOSSES, run

import ganfast.functional as GF

# Inductor's own imports warn; nothing of ours does.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()


@pytest.mark.parametrize("name", LOSSES)
def test_fullgraph(name):
    """Dynamo and AOTAutograd on every loss; code generation has a test of its own below."""
    compiled = torch.compile(LOSSES[name], fullgraph=True, dynamic=False, backend="aot_eager")
    real, fake = torch.randn(40, 1), torch.randn(30)
    for a, b in zip(run(compiled, real, fake), run(LOSSES[name], real, fake), strict=True):
        torch.testing.assert_close(a, b)


def test_soft_noisy_heads_fullgraph():
    heads = [torch.randn(20), torch.randn(5, 5)]

    def loss(real, fake):
        return GF.discriminator_loss(real, fake, game="lsgan", label_smoothing=0.1, label_noise=0.2)

    compiled = torch.compile(loss, fullgraph=True, dynamic=False, backend="aot_eager")
    values = {float(compiled(heads, heads)) for _ in range(3)}
    assert len(values) == 3, "each call draws anew"
    plain = float(GF.discriminator_loss(heads, heads, game="lsgan", label_smoothing=0.1))
    assert all(abs(value - plain) < 0.1 for value in values)


@pytest.mark.slow
def test_inductor_in_a_training_step():
    """A whole critic step in one graph: the weights' gradients are eager's."""
    critic = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))
    real, fake = torch.randn(16, 3), torch.randn(16, 3)

    def step(real, fake):
        return GF.discriminator_loss(critic(real), critic(fake), game="nonsaturating")

    gradients = []
    for function in (step, torch.compile(step, fullgraph=True, dynamic=False)):
        critic.zero_grad()
        function(real, fake).backward()
        gradients.append([p.grad.clone() for p in critic.parameters()])
    torch.testing.assert_close(*gradients)


def test_errors_reach_the_user_of_a_compiled_function():
    compiled = torch.compile(lambda x: GF.generator_loss(x, game="wgangp"), backend="eager")
    with pytest.raises(ValueError, match="game: got 'wgangp'"):
        compiled(torch.zeros(3))
