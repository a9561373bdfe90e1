"""Mean and covariance of features that come in batches."""

from ganfast.metrics.moments.streaming import Moments, moments

__all__ = ["Moments", "moments"]
