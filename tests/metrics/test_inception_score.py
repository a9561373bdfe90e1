"""The Inception Score on predictions whose score is known."""

import math

import pytest
import torch

from ganfast.errors import InputError
from ganfast.metrics import inception_score


def test_certain_and_balanced_predictions_score_the_number_of_classes():
    logits = 1e4 * torch.eye(10).repeat(20, 1)  # p is exactly 0 elsewhere
    mean, std = inception_score(logits, splits=10)
    assert mean == pytest.approx(10, rel=1e-12)
    assert std == pytest.approx(0, abs=1e-12)


def test_equal_predictions_score_one():
    logits = torch.tensor([[1.0, 2.0, 3.0]]).repeat(50, 1)
    assert inception_score(logits, splits=5) == pytest.approx((1.0, 0.0), abs=1e-12)


def test_a_hand_made_pair():
    # p = (0.9, 0.1) and (0.1, 0.9): marginal (1/2, 1/2), so the score is 2 / exp(entropy of 0.9).
    logits = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64).log()
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert inception_score(logits, splits=1)[0] == pytest.approx(2 / math.exp(entropy), rel=1e-12)


def test_the_deviation_is_over_the_parts():
    logits = torch.cat([1e3 * torch.eye(2).repeat(5, 1), torch.zeros(10, 2)])  # scores 2 and 1
    assert inception_score(logits, splits=2) == pytest.approx((1.5, 0.5), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_probabilities_are_not_taken_for_logits(dtype):
    logits = 5 * torch.randn(200, 100, generator=torch.Generator().manual_seed(0))
    probabilities = logits.softmax(1).to(dtype)
    for given in (probabilities, torch.eye(10, dtype=dtype)):
        with pytest.raises(InputError, match="logits: got probabilities.*from_logits=False"):
            inception_score(given)
        with pytest.raises(InputError, match="no probabilities"):
            inception_score(0.95 * given, from_logits=False)
    tolerance = 1e-4 if dtype.itemsize > 2 else 0.05
    expected = inception_score(logits)
    found = inception_score(probabilities, from_logits=False)
    assert found == pytest.approx(expected, rel=tolerance)


def test_certain_probabilities_score_the_number_of_classes():
    assert inception_score(torch.eye(4), splits=1, from_logits=False)[0] == pytest.approx(4)


def test_one_part_has_no_deviation():
    assert math.isnan(inception_score(torch.randn(9, 3), splits=1)[1])


def test_numpy():
    logits = torch.randn(40, 5)
    assert inception_score(logits.numpy(), splits=2) == inception_score(logits, splits=2)
    assert inception_score(logits.numpy()[:, ::-1], splits=2) == pytest.approx(
        inception_score(logits, splits=2)
    )


@pytest.mark.parametrize(
    "logits, splits, match",
    [
        (torch.zeros(10), 1, "logits"),
        ([[1.0, 2.0]], 1, "logits: got list; give a torch tensor or NumPy array of floats"),
        (torch.zeros(3, 10).int(), 1, "logits: got torch.int32"),
        (torch.zeros(3, 10), 4, "splits"),
        (torch.zeros(3, 10), 0, "splits"),
        (torch.full((3, 10), torch.nan), 1, "logits"),
    ],
)
def test_bad_input(logits, splits, match):
    with pytest.raises(ValueError, match=match):
        inception_score(logits, splits=splits)
