"""The result of an evaluation, as its caller and ``ganfast fid --json`` get it."""

from __future__ import annotations

import time
from typing import Any

from ganfast.errors import InputError
from ganfast.metrics.distances.bootstrap import bootstrap_interval
from ganfast.metrics.distances.extrapolation import fid_infinity
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.distances.kid import kernel_inception_distance
from ganfast.metrics.evaluation.evaluation import Evaluation
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary


def results(evaluation: Evaluation) -> dict[str, Any]:
    """The dict that :func:`ganfast.metrics.evaluate` describes."""
    options, notes = evaluation.options, list(evaluation.notes)
    real, fake = evaluation.known("real"), evaluation.known("fake")
    for name, side in (("real", real), ("fake", fake)):
        notes += _on_the_number(name, side)
    with evaluation.stopwatch("distance"):
        terms = frechet_terms(real, fake)
    result = {
        "fid": terms.fid,
        "mean_term": terms.mean_term,
        "covariance_term": terms.covariance_term,
        "n_real": _count(real),
        "n_fake": _count(fake),
        **_score(options, fake, notes),
        **_kernel(options, real, fake),
        **_uncertainty(evaluation, real, fake),
        **evaluation.provenance(),
        "skipped": evaluation.skipped,
        "notes": notes,
    }
    return {
        **result,
        "images_per_second": evaluation.images_per_second,
        "seconds": time.perf_counter() - evaluation.began,
        "stages": dict(evaluation.stopwatch.seconds),
    }


def _count(side: Summary | Statistics) -> int | None:
    return side.n if isinstance(side, Statistics) else side.count


def _on_the_number(name: str, side: Summary | Statistics) -> list[str]:
    """What few images do to FID."""
    count = _count(side)
    if count is None or count > side.dim:
        return []
    return [
        f"{name} has {count} images, fewer than {side.dim + 1}: its covariance of {side.dim} "
        "features is singular and FID comes out too high; compare it only at equal numbers"
    ]


def _score(
    options: EvaluationOptions, fake: Summary | Statistics, notes: list[str]
) -> dict[str, Any]:
    mean = std = None
    if options.inception_score and isinstance(fake, Summary) and fake.classes is not None:
        try:
            mean, std = fake.inception_score()
        except InputError:
            notes.append(
                f"no Inception Score: {fake.count} images leave one of {options.splits} splits "
                "empty; give fewer (--splits)"
            )
    return {"inception_score_mean": mean, "inception_score_std": std}


def _kernel(options: EvaluationOptions, real: Any, fake: Any) -> dict[str, Any]:
    mean = std = None
    if options.kid:
        mean, std = kernel_inception_distance(real.sample, fake.sample, seed=options.seed)
    return {"kid_mean": mean, "kid_std": std}


def _uncertainty(evaluation: Evaluation, real: Any, fake: Any) -> dict[str, Any]:
    options = evaluation.options
    interval = limit = error = None
    if options.bootstrap:
        with evaluation.stopwatch("bootstrap"):
            interval = list(
                bootstrap_interval(real, fake, replicates=options.bootstrap, seed=options.seed)
            )
    if options.fid_infinity:
        with evaluation.stopwatch("extrapolation"):
            extrapolated = fid_infinity(real, fake, seed=options.seed)
        limit, error = extrapolated.fid, extrapolated.standard_error
    return {"fid_interval": interval, "fid_infinity": limit, "fid_infinity_error": error}
