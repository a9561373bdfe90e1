"""The Fréchet distance of two sides, in its two terms."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ganfast.errors import InputError
from ganfast.linalg import frechet_distance
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

    ``real`` and ``fake`` are Moments, Summary or Statistics, on any devices. Raises InputError for
    fewer than two images, for different numbers of features, and for a sigma that is not positive
    semi-definite.
    """
    (mu1, sigma1), (mu2, sigma2) = moments_of(real, "real"), moments_of(fake, "fake")
    return terms_of(mu1, sigma1, mu2, sigma2)


def terms_of(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> FrechetTerms:
    """The same from moments of the real (1) and the fake (2) side."""
    if len(mu1) != len(mu2):
        raise InputError(
            f"fake must have the features of real, {len(mu1)}, got {len(mu2)}: use the same "
            "extractor for both"
        )
    device = mu1.device if mu1.is_cuda else mu2.device  # the trace is a GPU's work if there is one
    mu1, sigma1, mu2, sigma2 = (x.to(device) for x in (mu1, sigma1, mu2, sigma2))
    try:
        # About one mean, what is left of the distance is the covariance term.
        covariance_term = float(frechet_distance(mu1, sigma1, mu1, sigma2))
    except ValueError as error:
        reason = str(error).replace("sigma1", "real: sigma").replace("sigma2", "fake: sigma")
        raise InputError(reason) from None
    mean_term = float((mu1 - mu2).square().sum())
    return FrechetTerms(mean_term + covariance_term, mean_term, covariance_term)


def moments_of(side: Side, name: str) -> tuple[Tensor, Tensor]:
    """(mu, sigma) in float64; InputError, with ``name``, where there are none."""
    if isinstance(side, Statistics):
        return side.mu, side.sigma
    if not isinstance(side, (Moments, Summary)):
        raise InputError(
            f"{name} must be Moments, a Summary or Statistics, got {type(side).__name__}"
        )
    found = side.moments if isinstance(side, Summary) else side
    if found.count < 2:
        raise InputError(f"{name} needs at least 2 images for a covariance, got {found.count}")
    return found.mean, found.covariance
