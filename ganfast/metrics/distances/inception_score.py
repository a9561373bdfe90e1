"""The Inception Score: are samples recognisable, and diverse over the classes?"""

from __future__ import annotations

from typing import Any

import torch

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.arrays import as_rows
from ganfast.metrics.choices import SPLITS
from ganfast.metrics.summary.score_tally import ScoreTally, are_probabilities


def inception_score(
    logits: Any, *, splits: int = SPLITS, from_logits: bool = True
) -> tuple[float, float]:
    """exp(E KL(p(y|x) || p(y))) (Salimans et al., 2016, arXiv:1606.03498).

    The score lies between 1 (every sample gets the same prediction) and the number of classes (each
    certain, all classes equally often).

    Args:
        logits: (n, classes), a torch tensor or NumPy array: a classifier's raw scores, of samples
            in random order.
        splits: into how many parts, of consecutive samples, n >= splits.
        from_logits: False: ``logits`` are probabilities already, as a softmax gives them.

    Returns:
        (mean, standard deviation) over the parts: the population one, as in the original code; NaN
        for one part, which has none.

    Raises:
        ValueError: (an InputError) another shape, fewer samples than parts, scores that are not
            finite, or probabilities where logits were meant, or the reverse.
    """
    from_logits = _checks.flag("from_logits", from_logits)
    logits = as_rows("logits", logits)
    splits = _checks.integer("splits", splits, least=1)
    if splits > len(logits):
        raise InputError(f"splits: got {splits}; give at most the {len(logits)} samples")
    if are_probabilities(logits) == from_logits:
        raise InputError(
            "logits: got probabilities (rows from 0 to 1 with the sum 1); give what comes before "
            "the softmax, or from_logits=False"
            if from_logits
            else "logits: got rows that are no probabilities (from 0 to 1, with the sum 1); leave "
            "from_logits out for a classifier's raw scores"
        )
    if not from_logits:  # the softmax of logarithms; of a 0 it is far enough below to give 0 again
        logits = logits.to(torch.float64).log().clamp_min(-1e4)
    tally = ScoreTally(logits.shape[1], splits)
    sizes = torch.tensor([len(part) for part in torch.arange(len(logits)).tensor_split(splits)])
    tally.add(logits, torch.arange(splits).repeat_interleave(sizes))
    return tally.score()
