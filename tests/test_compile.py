"""torch.compile(fullgraph=True) traces the reference, and means the same as eager."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from truth import LOSSES, run

import ganfast
import ganfast.functional as GF

# Inductor's own imports warn; nothing of ours does.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()


@pytest.mark.parametrize("name", LOSSES)
def test_fullgraph(name):
    """Dynamo and AOTAutograd on every loss; Inductor's code is met in test_penalty_compile.py."""
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


soft = torch.linspace(-2, 2, 12).view(4, 3)
ANNEALED = {
    "label_smoothing": lambda s: GF.discriminator_loss(soft, -soft, label_smoothing=s),
    "least squares": lambda s: GF.discriminator_loss(soft, soft, game="lsgan", label_smoothing=s),
    "label_noise": lambda s: GF.discriminator_loss(soft, soft, label_noise=s),
    "label_flip": lambda s: GF.discriminator_loss(soft, soft, label_flip=s),
    "module": lambda s: ganfast.GANLoss(label_smoothing=s)(soft, True),
    "weight": lambda s: GF.penalty_from_gradient(soft, weight=s),
    "target": lambda s: GF.penalty_from_gradient(soft, target=s),
    "critic": lambda s: GF.gradient_penalty(
        lambda x: x.square().sum(1), soft, None, at="real", weight=s
    ),
}


@pytest.mark.parametrize("name", ANNEALED)
def test_a_value_that_changes_at_each_step_is_not_compiled_again(name):
    counter = CompileCounter()
    compiled = torch.compile(ANNEALED[name], fullgraph=True, backend=counter)
    for step in range(12):
        value = compiled(0.01 * step + 0.02)
        if name not in ("label_noise", "label_flip"):
            torch.testing.assert_close(value, ANNEALED[name](0.01 * step + 0.02))
    assert counter.frame_count <= 2  # one for the first value, one for any


def test_errors_reach_the_user_of_a_compiled_function():
    compiled = torch.compile(lambda x: GF.generator_loss(x, game="wgangpx"), backend="eager")
    with pytest.raises(ValueError, match="game: got 'wgangpx'"):
        compiled(torch.zeros(3))
