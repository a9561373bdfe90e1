"""What tells good samples from bad ones."""

from ganfast.metrics.inception_score import inception_score
from ganfast.metrics.moments import moments

__all__ = ["inception_score", "moments"]
