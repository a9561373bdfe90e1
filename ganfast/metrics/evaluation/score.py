"""What one set of images tells without another to compare it with."""

from __future__ import annotations

import math
from typing import Any

from ganfast._options import with_options
from ganfast.errors import InputError
from ganfast.metrics.choices import DIMS
from ganfast.metrics.evaluation.evaluation import Evaluation
from ganfast.metrics.options import EvaluationOptions, ScoreOptions
from ganfast.metrics.statistics import Statistics


@with_options(ScoreOptions)
def score(source: Any, options: ScoreOptions) -> dict[str, Any]:
    """Inception Score (Salimans et al. 2016, arXiv:1606.03498) of one set of images.

    Memory, torch.distributed and the errors are as in :func:`ganfast.metrics.evaluate`.

    Args:
        source: the images, in any of the forms that ``evaluate`` takes.
        {options}

    Returns:
        a dict: ``inception_score_mean``, ``inception_score_std`` over the splits (None of one
        split); ``n`` images; ``protocol``, ``extractor``, ``precision``, ``dims``,
        ``batch_size``; ``decoders``; ``skipped``, names of files left out; ``notes``;
        ``images_per_second``, ``seconds``, ``stages``.

    Raises:
        ValueError: (an InputError) as in ``evaluate``; also statistics in place of images, an
            extractor without logits, or fewer images than splits.
    """
    if options.dims not in (None, DIMS[-1]):
        raise InputError(
            f"dims: got {options.dims}, a layer without logits, of which the Inception Score is "
            "made; leave dims out"
        )
    evaluation = Evaluation(EvaluationOptions(**vars(options)), {"images": source})
    images = evaluation.found.known("images")
    if isinstance(images, Statistics):
        raise InputError("images: got statistics, which have no Inception Score; give the images")
    if images.classes is None:
        assert evaluation.extractor is not None
        raise InputError(
            f"extractor: got {evaluation.extractor.name!r}, which gives no logits, and the "
            "Inception Score is made of them; give one that returns (features, logits)"
        )
    (image_set,) = evaluation.found.image_sets
    known = image_set.source.count
    if known is not None and known < options.splits:
        raise InputError(f"splits: got {options.splits}, and there are {known} images; give fewer")
    evaluation.scan()
    if images.count < options.splits:
        raise InputError(
            f"splits: got {options.splits}, and there are {images.count} images; give fewer"
        )
    mean, deviation = images.inception_score()
    known = options.splits > 1 and math.isfinite(deviation)
    result = {
        "inception_score_mean": mean,
        "inception_score_std": deviation if known else None,
        "n": images.count,
        **evaluation.found.provenance(),
        **evaluation.told(),
        "notes": list(evaluation.notes),
        **evaluation.timed(),
    }
    result = evaluation.ranks.from_first(result if evaluation.ranks.first else None)
    evaluation.finish()
    return result
