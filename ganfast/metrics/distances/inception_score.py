"""The Inception Score: are samples recognisable, and diverse over the classes?"""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.summary.score_tally import ScoreTally


def inception_score(logits: Tensor, *, splits: int = 10) -> tuple[float, float]:
    """exp(E KL(p(y|x) || p(y))) (Salimans et al., 2016, arXiv:1606.03498).

    The score lies between 1 (every sample gets the same prediction) and the number of classes (each
    certain, all classes equally often).

    Args:
        logits: (n, classes), a classifier's raw scores, of samples in random order.
        splits: into how many parts, of consecutive samples, n >= splits.

    Returns:
        (mean, standard deviation) over the parts: the population one, as in the original code.

    Raises:
        ValueError: (an InputError) another shape, fewer samples than parts, or logits that are not
            finite.
    """
    if logits.dim() != 2 or logits.shape[1] < 1:
        raise InputError(f"logits: got shape {tuple(logits.shape)}; give (n, classes)")
    splits = _checks.integer("splits", splits, least=1)
    if splits > len(logits):
        raise InputError(f"splits: got {splits}; give at most the {len(logits)} samples")
    if not bool(torch.isfinite(logits).all()):
        raise InputError("logits: got NaN or inf; mend the classifier or its input")
    tally = ScoreTally(logits.shape[1], splits)
    sizes = torch.tensor([len(part) for part in torch.arange(len(logits)).tensor_split(splits)])
    tally.add(logits, torch.arange(splits).repeat_interleave(sizes))
    return tally.score()
