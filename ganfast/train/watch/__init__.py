"""What is looked at while a run goes on, beside its losses, and when that says stop."""

from ganfast.train.watch.independent_critic import Distance, independent_distance
from ganfast.train.watch.judge import Judge, seen_by
from ganfast.train.watch.measures import MEASURES, Measure, Sets
from ganfast.train.watch.patience import (
    best_of,
    has_run_out,
    rank_correlation,
    smoothed,
    stopped_at,
)
from ganfast.train.watch.watch import Watch, look, modes_of, slope

__all__ = [
    "MEASURES",
    "Distance",
    "Judge",
    "Measure",
    "Sets",
    "Watch",
    "best_of",
    "has_run_out",
    "independent_distance",
    "look",
    "modes_of",
    "rank_correlation",
    "seen_by",
    "slope",
    "smoothed",
    "stopped_at",
]
