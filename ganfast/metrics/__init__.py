"""What tells good samples from bad ones."""

from ganfast.metrics.evaluate import evaluate, image_statistics
from ganfast.metrics.frechet_inception_distance import FrechetInceptionDistance
from ganfast.metrics.inception_score import inception_score
from ganfast.metrics.kid import kernel_inception_distance
from ganfast.metrics.moments import Moments, moments
from ganfast.metrics.preprocess import preprocess
from ganfast.metrics.statistics import Statistics

__all__ = [
    "FrechetInceptionDistance",
    "Moments",
    "Statistics",
    "evaluate",
    "image_statistics",
    "inception_score",
    "kernel_inception_distance",
    "moments",
    "preprocess",
]
