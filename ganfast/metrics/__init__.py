"""What tells good samples from bad ones."""

from ganfast.metrics.inception_score import inception_score
from ganfast.metrics.moments import Moments, moments

__all__ = ["Moments", "inception_score", "moments"]
