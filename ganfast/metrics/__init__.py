"""What tells good samples from bad ones."""

from ganfast.metrics.distances.bootstrap import bootstrap_interval
from ganfast.metrics.distances.extrapolation import fid_infinity
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.distances.inception_score import inception_score
from ganfast.metrics.distances.kid import kernel_inception_distance
from ganfast.metrics.evaluate import evaluate, image_statistics
from ganfast.metrics.extractors import Extractor, load_extractor
from ganfast.metrics.frechet_inception_distance import FrechetInceptionDistance
from ganfast.metrics.moments import Moments, moments
from ganfast.metrics.preprocess import preprocess
from ganfast.metrics.protocols import PROTOCOLS, Protocol
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary

__all__ = [
    "PROTOCOLS",
    "Extractor",
    "FrechetInceptionDistance",
    "Moments",
    "Protocol",
    "Statistics",
    "Summary",
    "bootstrap_interval",
    "evaluate",
    "fid_infinity",
    "frechet_terms",
    "image_statistics",
    "inception_score",
    "kernel_inception_distance",
    "load_extractor",
    "moments",
    "preprocess",
]
