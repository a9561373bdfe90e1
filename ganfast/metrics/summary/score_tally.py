"""What the Inception Score needs of predictions that come in batches."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ganfast.metrics.distributed import total
from ganfast.metrics.no_autograd import no_autograd

PIECE = 1024
"""Predictions that are squared up together, so that no temporary is as large as all of them."""

PROBABILITIES = (
    "got logits that are probabilities (each row from 0 to 1 with the sum 1), of which the "
    "Inception Score would be far too small; return what comes before the softmax"
)


class ScoreTally:
    """Per part of the images: how many there are, the sum of p, and the sum of p log p over images
    and classes, all in float64. p is the softmax of the logits.

    With p the mean over a part of n images, the score of the part is

        exp E KL(p(y|x) || p(y)) = exp( sum(p log p) / n - sum_y p_y log p_y ):

    sums are enough, so memory is O(parts x classes) whatever n is.
    """

    def __init__(self, classes: int, parts: int) -> None:
        self.classes, self.parts = classes, parts
        self.count = torch.zeros(parts, dtype=torch.float64)
        self.sum_p = torch.zeros(parts, classes, dtype=torch.float64)
        self.sum_p_log_p = torch.zeros(parts, dtype=torch.float64)

    @no_autograd
    def add(self, logits: Tensor, part: Tensor) -> None:
        """Take in finite ``logits`` (n, classes); ``part`` (n,) int64 is the part of each. All is
        summed up where they are, and nothing waits for it."""
        device = logits.device
        if self.count.device != device:
            for key, value in self.state_dict().items():
                setattr(self, key, value.to(device))
        which = torch.arange(self.parts, device=device)
        for rows, index in zip(logits.split(PIECE), part.split(PIECE), strict=True):
            # From log-softmax, so that a certain prediction (p = 0 elsewhere) costs 0 * finite and
            # never 0 * log 0.
            log_p = torch.log_softmax(rows.to(torch.float64), dim=1)
            p = log_p.exp()
            # A product and not index_add_, which adds in an order of its own.
            member = (index[:, None] == which).to(torch.float64).T
            self.count += member.sum(1)
            self.sum_p += member @ p
            self.sum_p_log_p += member @ (p * log_p).sum(1)

    def score(self) -> tuple[float, float]:
        """Mean and population deviation of the score over the parts that have images; of one part
        the deviation is NaN."""
        count, sum_p, sum_p_log_p = (value.cpu() for value in self.state_dict().values())
        there = count > 0
        count = count[there]
        marginal = sum_p[there] / count[:, None]
        entropy = torch.special.entr(marginal).sum(1)
        scores = (sum_p_log_p[there] / count + entropy).exp()
        return mean_and_deviation(scores)

    @no_autograd
    def all_reduce(self, group: Any = None) -> None:
        """Hold the predictions of all processes in ``group``."""
        self.load_state_dict({key: total(value, group) for key, value in self.state_dict().items()})

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "count": self.count.clone(),
            "sum_p": self.sum_p.clone(),
            "sum_p_log_p": self.sum_p_log_p.clone(),
        }

    @no_autograd
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for key, value in self.state_dict().items():
            getattr(self, key).copy_(state[key].reshape(value.shape))


def mean_and_deviation(values: Tensor) -> tuple[float, float]:
    """Mean and population deviation; one value has none, which is NaN."""
    return float(values.mean()), float(values.std(correction=0)) if len(values) > 1 else math.nan


def are_probabilities(rows: Tensor) -> bool:
    """Whether each row (n, classes) is from 0 to 1 with the sum 1, within rounding: what a softmax
    gives and a classifier's raw scores are not. One class has none to tell by."""
    if not rows.numel() or rows.shape[1] < 2 or bool((rows < 0).any()):
        return False
    half = rows.dtype in (torch.float16, torch.bfloat16)
    return are_distributions(rows.to(torch.float64).sum(1), rows.amin(1), half=half)


def are_distributions(sums: Tensor, least: Tensor, *, half: bool) -> bool:
    """The same of the rows' sums (n,), float64, and of their least values (n,)."""
    return bool((least >= 0).all() and (sums - 1).abs().max() < (0.02 if half else 1e-3))
