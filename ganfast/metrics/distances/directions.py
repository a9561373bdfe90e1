"""Along which directions of feature space the covariances of two sides differ."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganfast.metrics.distances.frechet import Side
from ganfast.metrics.distances.influence import Gradients, fid_gradients
from ganfast.metrics.no_autograd import no_autograd

STEPS = 30
"""Of the subspace iteration: enough for directions that differ by a tenth in what they carry."""

ROUND_OFF = 1e-9
"""Of the variances: a term below it carries nothing."""


@dataclass(frozen=True, eq=False)
class Direction:
    """``vector`` (d,) float64 of length 1, whose sign means nothing; ``share``: the part of FID's
    covariance term that it carries; ``real`` and ``fake``: the sides' deviations along it."""

    vector: Tensor
    share: float
    real: float
    fake: float


@no_autograd
def covariance_directions(
    real: Side, fake: Side, *, number: int = 3, gradients: Gradients | None = None
) -> list[Direction]:
    """The ``number`` orthogonal directions that carry most of FID's covariance term, or as many as
    there are features.

    The term is the mean squared distance by which the optimal transport x -> T x takes one centred
    Gaussian to the other (Dowson and Landau, 1982). With S a side's covariance, and the gradient
    of FID in it, I - T, it is the trace of

        M = (I - T) S (I - T),

    the covariance of that displacement; its eigenvectors are the directions, and its eigenvalues
    over the trace the shares. Where a side has too few images for a covariance of full rank T is
    known in the directions that it has, and the shares come to less than 1; M is then that of the
    side on which they come to more.

    Args:
        real, fake: Moments, Summary or Statistics.
        gradients: FID's, where they are known; they take longer than all else here.

    Returns:
        the one that carries most first; none where the term is 0 but for round-off.
    """
    distance, sides = gradients or fid_gradients(real, fake)
    (mu1, s1, _, g1), (mu2, s2, _, g2) = sides
    moved = max((g1 @ s1 @ g1, g2 @ s2 @ g2), key=lambda matrix: float(matrix.trace()))
    term = float(distance - (mu1 - mu2).square().sum())
    if term <= ROUND_OFF * float(s1.trace() + s2.trace()):
        return []
    vectors = _leading(moved, min(number, len(moved)))
    found = []
    for v in vectors.T:
        share, deviations = float(v @ moved @ v) / term, [float(v @ s @ v) ** 0.5 for s in (s1, s2)]
        found.append(Direction(v.cpu(), share, *deviations))
    return found


def _leading(matrix: Tensor, number: int) -> Tensor:
    """(d, number): eigenvectors of the largest eigenvalues of a positive semi-definite matrix, by
    subspace iteration (Rutishauser, 1970): a full decomposition would take as long as FID."""
    d = len(matrix)
    width = min(d, number + 8)
    random = torch.Generator().manual_seed(0)
    block = torch.randn(d, width, dtype=torch.float64, generator=random).to(matrix.device)
    for _ in range(STEPS):
        block = torch.linalg.qr(matrix @ block).Q
    values, rotation = torch.linalg.eigh(block.T @ matrix @ block)
    order = values.argsort(descending=True)[:number]
    return block @ rotation[:, order]
