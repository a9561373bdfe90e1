"""LeCAM against its formula over steps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ganfast import LeCAM


def scores(step, dtype=torch.float64):
    source = torch.Generator().manual_seed(step)
    real, fake = (torch.randn(n, 1, generator=source, dtype=torch.float64) for n in (6, 4))
    return (real + 0.5).to(dtype).requires_grad_(), (fake - step).to(dtype).requires_grad_()


@pytest.mark.parametrize("one_sided", [True, False])
@pytest.mark.parametrize("start", [1, 3])
def test_as_the_formula_over_steps(one_sided, start):
    lecam, history = LeCAM(0.7, decay=0.8, one_sided=one_sided, start=start), []
    for step in range(5):
        real, fake = scores(step)
        penalty = lecam(real, fake)
        mine = torch.autograd.grad(penalty, (real, fake))
        expected = (real.sum() + fake.sum()) * 0.0
        if step >= start:
            ages = range(step - 1, -1, -1)
            total = sum(0.8**age for age in ages)
            a_real, a_fake = (
                sum(0.8**age * float(h[side]) for age, h in zip(ages, history, strict=True)) / total
                for side in (0, 1)
            )
            cut = F.relu if one_sided else torch.nn.Identity()
            expected = cut(real - a_fake).square().mean() + cut(a_real - fake).square().mean()
            expected = 0.7 * expected
        torch.testing.assert_close(penalty, expected, rtol=1e-6, atol=1e-7)
        right = torch.autograd.grad(expected, (real, fake))
        torch.testing.assert_close(mine, right, rtol=1e-6, atol=1e-7)
        history.append((real.mean().detach(), fake.mean().detach()))


def test_heads_have_means_of_their_own():
    both, first, second = LeCAM(heads=2), LeCAM(), LeCAM()
    for step in range(3):
        one, other = scores(step), scores(step + 10)
        penalty = both([one[0], other[0]], (one[1], other[1]))
        torch.testing.assert_close(penalty, (first(*one) + second(*other)) / 2)
    assert penalty > 0


def test_the_state_is_kept_and_evaluation_changes_nothing():
    lecam = LeCAM()
    lecam(*scores(0))
    again = LeCAM()
    again.load_state_dict(lecam.state_dict())
    again.eval()
    values = [again(*scores(1)) for _ in range(2)]
    assert values[0] == values[1] == lecam(*scores(1)) > 0
    assert again.calls == 1 and lecam.calls == 2


def test_scores_that_are_not_finite_do_not_stay():
    lecam = LeCAM()
    lecam(*scores(0))
    before = lecam.sums.clone()
    real, fake = scores(1)
    assert lecam(real * float("inf"), fake).isinf()
    assert lecam.sums[0] == before[0] and lecam.sums[1] != before[1]
    assert lecam(real, fake).isfinite()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    lecam = LeCAM(weight=1.0).half()
    lecam(*scores(0, dtype))
    real, fake = scores(1, dtype)
    penalty = lecam(real * 300, fake)
    penalty.backward()
    assert penalty.dtype == lecam.sums.dtype == torch.float32 and penalty.isfinite()
    assert real.grad.dtype == dtype


def test_second_order():
    lecam = LeCAM(one_sided=False)
    lecam(*scores(0))
    lecam.eval()
    assert torch.autograd.gradgradcheck(lecam, scores(1))


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"decay": 1.0}, None, "^decay: got 1.0"),
        ({"start": 0}, None, "^start: got 0; give a whole number of at least 1"),
        ({"weight": -1.0}, None, "^weight: got -1.0"),
        ({}, (1.0, torch.ones(1)), "^real: got a float; give a tensor"),
        ({}, ([torch.ones(1)] * 2, torch.ones(1)), r"^real: has 2 heads; give 1, or LeCAM\(heads"),
        ({}, (torch.ones(1), torch.ones(1).int()), "^fake: got torch.int32 scores"),
        ({}, (torch.ones(1), torch.ones(0)), "^fake: is empty"),
    ],
)
def test_bad_input(options, arguments, message):
    with pytest.raises(ValueError, match=message):
        LeCAM(**options)(*(arguments or ()))
