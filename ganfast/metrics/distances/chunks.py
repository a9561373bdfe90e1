"""The moments of any selection of a side's chunks, without its images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganfast.errors import InputError, InputTypeError
from ganfast.linalg import frechet_distance
from ganfast.metrics.distances.frechet import moments_of
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary

FEWEST = 4
"""Chunks below which a spread over them says nothing."""

_BATCH_BYTES = 2**26
"""Of the covariances that are computed together."""


@dataclass(frozen=True)
class Chunks:
    """Of each chunk the number of images (K,), the mean (K, d) and the population covariance
    (K, d, d), in float64. At d = 2048 and K = 20 that is 670 MB.

    Statistics are one chunk, of which there is but one selection.
    """

    counts: Tensor
    means: Tensor
    covariances: Tensor
    fixed: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, side: Summary | Statistics, name: str) -> Chunks:
        """Those of a Summary that have images. Raises InputError for fewer than FEWEST."""
        if isinstance(side, Statistics):
            none = torch.zeros(0, dtype=torch.float64)
            return cls(none, none, none, fixed=(side.mu, side.sigma))
        if not isinstance(side, Summary):
            raise InputTypeError(
                f"{name}: got a {type(side).__name__}; give a Summary with chunks, or Statistics "
                "for a side that is fixed"
            )
        moments_of(side, name)  # its complaint of too few images is the clearer one
        parts = [part for part in side.chunk_moments if part.count]
        if len(parts) < FEWEST:
            raise InputError(
                f"{name}: got images in {len(parts)} chunks; give them in at least {FEWEST}, by a "
                "Summary with chunks=20 and more images"
            )
        means = torch.stack([part.mean for part in parts])
        covariances = means.new_empty(len(parts), side.dim, side.dim)
        for covariance, part in zip(covariances, parts, strict=True):
            covariance.copy_(part.population_covariance)
        counts = torch.tensor([part.count for part in parts], dtype=torch.float64)
        return cls(counts.to(means.device), means, covariances)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def dim(self) -> int:
        return self.means.shape[-1] if self.fixed is None else len(self.fixed[0])

    def moments(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """(B, d) and (B, d, d): means and covariances of B selections ``weights`` (B, K), in which
        an image of chunk k counts weights[b, k] times.

        Exact: with n_k = weight x count, N their sum, and m the mean of the selection, the
        covariance is sum n_k (C_k + (m_k - m)(m_k - m)^T) / (N - 1).
        """
        if self.fixed is not None:
            return self.fixed  # one for all selections of the other side
        n = weights.to(self.counts) * self.counts
        total = n.sum(1)
        if float(total.min()) < 2:
            raise InputError("chunks: got a selection with fewer than 2 images; give more images")
        means = (n @ self.means) / total[:, None]
        away = (self.means - means[:, None]) * n.sqrt()[..., None]
        within = (n @ self.covariances.flatten(1)).unflatten(1, (self.dim, self.dim))
        return means, (within + away.mT @ away) / (total - 1)[:, None, None]


def distances(real: Chunks, fake: Chunks, real_weights: Tensor, fake_weights: Tensor) -> Tensor:
    """(B,): FID between selection b of either side, on the CPU."""
    values = []
    for one, two in _batches(real_weights, fake_weights, real.dim):
        (mu1, sigma1), (mu2, sigma2) = real.moments(one), fake.moments(two)
        device = mu1.device if mu1.is_cuda else mu2.device
        four = (x.to(device) for x in (mu1, sigma1, mu2, sigma2))
        values.append(frechet_distance(*four).cpu())
    return torch.cat(values)


def _batches(one: Tensor, two: Tensor, dim: int) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, _BATCH_BYTES // (8 * dim * dim))
    yield from zip(one.split(size), two.split(size), strict=True)
