"""What tells good samples from bad ones.

Importing this imports neither torch nor NumPy: the command line reads the options here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganfast._lazy import lazy_names

if TYPE_CHECKING:
    from ganfast.metrics.distances.bootstrap import bootstrap_interval
    from ganfast.metrics.distances.cmmd import Cmmd, cmmd
    from ganfast.metrics.distances.extrapolation import fid_infinity
    from ganfast.metrics.distances.frechet import frechet_terms
    from ganfast.metrics.distances.inception_score import inception_score
    from ganfast.metrics.distances.influence import FidInfluence, fid_influence
    from ganfast.metrics.distances.kid import kernel_inception_distance
    from ganfast.metrics.distances.manifold import ManifoldMetrics, manifold_metrics
    from ganfast.metrics.distances.memorisation import Memorisation, memorisation
    from ganfast.metrics.distances.sliced import sliced_wasserstein
    from ganfast.metrics.evaluation.evaluate import evaluate, image_statistics
    from ganfast.metrics.evaluation.score import score
    from ganfast.metrics.extractors import Extractor, load_extractor
    from ganfast.metrics.frechet_inception_distance import FrechetInceptionDistance
    from ganfast.metrics.preprocessing import preprocess
    from ganfast.metrics.protocols import PROTOCOLS, Protocol
    from ganfast.metrics.statistics import Statistics
    from ganfast.metrics.summary import Moments, Summary, moments

__all__ = [
    "PROTOCOLS",
    "Cmmd",
    "Extractor",
    "FidInfluence",
    "FrechetInceptionDistance",
    "ManifoldMetrics",
    "Memorisation",
    "Moments",
    "Protocol",
    "Statistics",
    "Summary",
    "bootstrap_interval",
    "cmmd",
    "evaluate",
    "fid_infinity",
    "fid_influence",
    "frechet_terms",
    "image_statistics",
    "inception_score",
    "kernel_inception_distance",
    "load_extractor",
    "manifold_metrics",
    "memorisation",
    "moments",
    "preprocess",
    "score",
    "sliced_wasserstein",
]

_HOMES = {
    "distances.bootstrap": ("bootstrap_interval",),
    "distances.cmmd": ("Cmmd", "cmmd"),
    "distances.extrapolation": ("fid_infinity",),
    "distances.frechet": ("frechet_terms",),
    "distances.inception_score": ("inception_score",),
    "distances.influence": ("FidInfluence", "fid_influence"),
    "distances.kid": ("kernel_inception_distance",),
    "distances.manifold": ("ManifoldMetrics", "manifold_metrics"),
    "distances.memorisation": ("Memorisation", "memorisation"),
    "distances.sliced": ("sliced_wasserstein",),
    "evaluation.evaluate": ("evaluate", "image_statistics"),
    "evaluation.score": ("score",),
    "extractors": ("Extractor", "load_extractor"),
    "frechet_inception_distance": ("FrechetInceptionDistance",),
    "preprocessing": ("preprocess",),
    "protocols": ("PROTOCOLS", "Protocol"),
    "statistics": ("Statistics",),
    "summary": ("Moments", "Summary", "moments"),
}

__getattr__, __dir__ = lazy_names(
    __name__, {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
)
