"""torch-fidelity (https://github.com/toshas/torch-fidelity)."""

from __future__ import annotations

from typing import Any

from ganfast.compat import arrays
from ganfast.compat.project import Project


def fid_statistics_to_metric(stat_1: Any, stat_2: Any, verbose: Any) -> dict[str, float]:
    """The Fréchet distance, by ganfast, as the entry of a dict; printed if ``verbose``."""
    # Their key and their way to print: this runs only where the project is imported.
    from torch_fidelity.metric_fid import KEY_METRIC_FID, vprint

    mu1, sigma1, mu2, sigma2 = stat_1["mu"], stat_1["sigma"], stat_2["mu"], stat_2["sigma"]
    for name, one, two, dimensions in (("mu", mu1, mu2, 1), ("sigma", sigma1, sigma2, 2)):
        if one.ndim != dimensions or one.shape != two.shape or one.dtype != two.dtype:
            raise AssertionError(  # they assert, and a caller may count on it
                f"{name} must have {dimensions} dimension(s) and be alike on both sides, "
                f"got {one.dtype} {one.shape} and {two.dtype} {two.shape}"
            )
    fid = arrays.distance(mu1, sigma1, mu2, sigma2)
    vprint(verbose, f"Frechet Inception Distance: {fid:.7g}")
    return {KEY_METRIC_FID: fid}


def _example() -> tuple[Any, ...]:
    mu1, sigma1, mu2, sigma2 = arrays.example()
    return {"mu": mu1, "sigma": sigma1}, {"mu": mu2, "sigma": sigma2}, False


PROJECT = Project(
    name="torch_fidelity",
    distribution="torch-fidelity",
    home="torch_fidelity.metric_fid",
    replacement=fid_statistics_to_metric,
    example=_example,
    needs=("KEY_METRIC_FID", "vprint"),
)
