"""When to stop, from the distances measured so far and nothing else: a run that resumes decides as
one that was never stopped."""

from __future__ import annotations

from collections.abc import Sequence

SMOOTH_OVER = 3  # a fresh critic each time makes a distance noisy


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and up to two before it."""
    windows = [values[max(0, i + 1 - SMOOTH_OVER) : i + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def best_of(values: Sequence[float]) -> int | None:
    """Which evaluation has the least smoothed value, the first of equals; None if there is none."""
    means = smoothed(values)
    return means.index(min(means)) if means else None


def has_run_out(values: Sequence[float], patience: int) -> bool:
    """Whether ``patience`` evaluations have come since the best one; never if it is 0."""
    best = best_of(values)
    return patience > 0 and best is not None and len(values) - 1 - best >= patience
