"""The Fréchet distance of two sides, in its two terms."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ganfast.errors import InputError, InputTypeError
from ganfast.linalg.frechet import distance_of_moments
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Moments, Summary

Side = Moments | Statistics | Summary
"""What has a mean and a covariance."""


@dataclass(frozen=True)
class FrechetTerms:
    """``fid`` = ``mean_term`` + ``covariance_term``, none of them below 0."""

    fid: float
    mean_term: float
    covariance_term: float


@no_autograd
def frechet_terms(real: Side, fake: Side) -> FrechetTerms:
    """|mu1 - mu2|^2 and Tr(S1 + S2 - 2 (S1 S2)^{1/2}) apart, in float64.

    Each is a squared distance of its own, between the means and between the covariances (of the
    Gaussians moved to one mean), and is not negative; where round-off takes the covariance term of
    (nearly) equal sides below 0 it is set to 0, so that the terms add up to ``fid``.

    Args:
        real, fake: Moments, Summary or Statistics, on any devices.

    Raises:
        ValueError: (an InputError) fewer than two images, different numbers of features, or a
            sigma that is not positive semi-definite.
    """
    (mu1, sigma1), (mu2, sigma2) = moments_of(real, "real"), moments_of(fake, "fake")
    require_one_dim(len(mu1), len(mu2))
    device = mu1.device if mu1.is_cuda else mu2.device  # the trace is a GPU's work if there is one
    mu1, sigma1, mu2, sigma2 = (x.to(device) for x in (mu1, sigma1, mu2, sigma2))
    # About one mean, what is left of the distance is the covariance term.
    names = ("real.mu", "real.sigma", "fake.mu", "fake.sigma")
    covariance_term = float(distance_of_moments(mu1, sigma1, mu1, sigma2, names=names))
    mean_term = float((mu1 - mu2).square().sum())
    return FrechetTerms(mean_term + covariance_term, mean_term, covariance_term)


def require_one_dim(real: int, fake: int) -> None:
    """InputError where the sides' numbers of features differ."""
    if real != fake:
        raise InputError(
            f"fake: got {fake} features, where real has {real}; use the same extractor for both"
        )


def moments_of(side: Side, name: str) -> tuple[Tensor, Tensor]:
    """(mu, sigma) in float64; InputError, with ``name``, where there are none."""
    if isinstance(side, Statistics):
        return side.mu, side.sigma
    if not isinstance(side, (Moments, Summary)):
        raise InputTypeError(
            f"{name}: got a {type(side).__name__}; give Moments, a Summary or Statistics"
        )
    summed = side.moments if isinstance(side, Summary) else side
    if summed.count < 2:
        raise InputError(
            f"{name}: got {summed.count} images; give at least 2 images, which a covariance needs"
        )
    return summed.mean, summed.covariance
