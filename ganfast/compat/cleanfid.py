"""clean-fid (https://github.com/GaParmar/clean-fid)."""

from __future__ import annotations

from typing import Any

from ganfast.compat import arrays
from ganfast.compat.project import Project


def frechet_distance(mu1: Any, sigma1: Any, mu2: Any, sigma2: Any, eps: float = 1e-6) -> Any:
    """The Fréchet distance, by ganfast. ``eps`` is accepted and has no use: theirs adds it to the
    diagonal of singular covariances, which ours answers as they are."""
    return arrays.distance_by_scipy_rules(mu1, sigma1, mu2, sigma2)


PROJECT = Project(
    name="cleanfid",
    distribution="clean-fid",
    home="cleanfid.fid",
    replacement=frechet_distance,
    example=arrays.example,
)
