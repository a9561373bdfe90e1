"""What one pass over one side's images keeps of them."""

from ganfast.metrics.summary.streaming import Moments, moments
from ganfast.metrics.summary.summary import Summary

__all__ = ["Moments", "Summary", "moments"]
