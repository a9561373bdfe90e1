"""What is looked at while a run goes on, beside its losses, and when that says stop."""

from ganfast.train.watch.independent_critic import Distance, independent_distance
from ganfast.train.watch.patience import best_of, has_run_out, smoothed
from ganfast.train.watch.watch import Watch, look, modes_of

__all__ = [
    "Distance",
    "Watch",
    "best_of",
    "has_run_out",
    "independent_distance",
    "look",
    "modes_of",
    "smoothed",
]
