"""When to stop, from the distances measured so far and nothing else: a run that resumes decides as
one that was never stopped."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its two neighbours: a fresh critic each time makes a distance
    noisy. A mean over what came before alone would lag behind, and have the turn too late."""
    windows = [values[max(0, i - 1) : i + 2] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def best_of(values: Sequence[float]) -> int | None:
    """Which evaluation has the least smoothed value, of equals the one with the least of its own;
    None if there is none."""
    return _least(values, smoothed(values))


def may_be_best(values: Sequence[float]) -> set[int]:
    """Which evaluations may still be the best one after others: the last, whose mean is not
    complete, and the best of those before it, whose means are."""
    last = len(values) - 1
    return {i for i in (_least(values, smoothed(values)[:-1]), last) if i is not None and i >= 0}


def _least(values: Sequence[float], means: Sequence[float]) -> int | None:
    return min(range(len(means)), key=lambda i: (means[i], values[i]), default=None)


def has_run_out(values: Sequence[float], patience: int) -> bool:
    """Whether ``patience`` evaluations have come since the best one; never if it is 0."""
    best = best_of(values)
    return patience > 0 and best is not None and len(values) - 1 - best >= patience


def stopped_at(values: Sequence[float], patience: int) -> tuple[int | None, int]:
    """At which of all evaluations of a run ``patience`` ends it, None if at none, and which one's
    weights are then the best."""
    for count in range(1, len(values) + 1):
        if has_run_out(values[:count], patience):
            break
    best = best_of(values[:count])
    assert best is not None
    return (count - 1 if has_run_out(values[:count], patience) else None), best


def rank_correlation(one: Sequence[float], two: Sequence[float]) -> float:
    """Spearman's: 1 where both rise and fall together, -1 where one rises as the other falls; NaN
    if one of them never changes."""
    try:
        return statistics.correlation(_ranks(one), _ranks(two))
    except statistics.StatisticsError:
        return float("nan")


def _ranks(values: Sequence[float]) -> list[float]:
    """The place of each in order; equal ones share theirs."""
    return [
        sum(other < value for other in values) + sum(other == value for other in values) / 2
        for value in values
    ]
