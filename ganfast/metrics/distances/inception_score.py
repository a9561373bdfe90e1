"""The Inception Score: are samples recognisable, and diverse over the classes?"""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.summary.score_tally import ScoreTally


def inception_score(logits: Tensor, *, splits: int = 10) -> tuple[float, float]:
    """exp(E KL(p(y|x) || p(y))) over ``splits`` consecutive parts of the samples: (mean, standard
    deviation).

    ``logits`` has shape (n, classes), n >= splits: a classifier's raw scores. The score lies
    between 1 (every sample gets the same prediction) and the number of classes (each certain, all
    classes equally often). The deviation is the population one over the parts, as in the original
    code (Salimans et al., arXiv:1606.03498). Samples should be in random order. Raises InputError
    for a wrong shape, fewer samples than parts, or logits that are not finite.
    """
    if logits.dim() != 2 or logits.shape[1] < 1:
        raise InputError(f"logits must have shape (n, classes), got {tuple(logits.shape)}")
    if not 1 <= splits <= logits.shape[0]:
        raise InputError(
            f"splits must be between 1 and the number of samples ({logits.shape[0]}), got {splits}"
        )
    if not bool(torch.isfinite(logits).all()):
        raise InputError("logits has values that are not finite: check the classifier or its input")
    tally = ScoreTally(logits.shape[1], splits)
    sizes = torch.tensor([len(part) for part in torch.arange(len(logits)).tensor_split(splits)])
    tally.add(logits, torch.arange(splits).repeat_interleave(sizes))
    return tally.score()
