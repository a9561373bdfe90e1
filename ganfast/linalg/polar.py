"""Tr (A B)^{1/2} of large matrices by matrix products alone, for GPUs.

With factors A = F1 F1^T and B = F2 F2^T the trace is the nuclear norm of C = F1^T F2, and that is
<U, C> for the polar factor U of C (Uhlmann, 1976). Nothing is decomposed but by Cholesky: GPUs
multiply matrices near their peak, while a tridiagonalisation waits for memory n times.

Factors. Cholesky of A + shift, shift = n eps max diag, gives L; what the shift adds to directions
that A lacks is filtered out again: of Q = L^-1 A L^-T, whose eigenvalues are q = w / (w + shift)
for those of A, F = L p(Q) with p(q) = q^4 times the quadratic that makes p agree with sqrt(q) at
q = 1 to third order. Eigenvalues of round-off (q near 0) vanish, signal (q near 1) is kept, and
what lies between is measured: it counts as error. Where there are more positive eigenvalues below
n eps than round-off explains, the result counts as not converged.

Polar factor. X <- a X + b X X^T X + c (X X^T)^2 X with the odd quintics that are best for the
interval that the singular values are in at that step (Amsel et al., 2025, arXiv:2505.16932): a
singular value of 1e-12 of the largest reaches 1 in 22 steps.

Flops: a step is three products, 6 n^3, and 22 of them 132 n^3; each factor takes 12 n^3, C, U^T C
and the check 6 n^3 more: 162 n^3 in all, of which all but the factors' 4.7 n^3 are products. At
n = 2048 that is 1.4e12, 23 ms at 60 TFLOP/s of float64 (reasoned, not measured).
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ganfast.linalg.inputs import EPS

LOWEST = 1e-12
"""Relative to the largest, the singular value below which none is resolved. polar_trace checks
whether that matters."""

_CUSHION = 0.005  # of the interval: a quintic fitted further down would dip to round-off in between
_MARGIN = 1e-9  # past the end of each interval, where a quintic grows fast: room for round-off
_PROBES = 8


class Polar(NamedTuple):
    """The trace, what its gradients are made of, and how far it can be trusted."""

    trace: Tensor
    factors: tuple[Tensor, Tensor]  # F1, F2
    unitary: Tensor  # U, the polar factor of F1^T F2 where that is not 0
    error: Tensor  # an estimate of the absolute error besides rounding
    converged: Tensor  # bool: whether the error is below 1e-12 of the trace


def polar_trace(a: Tensor, b: Tensor) -> Polar:
    """Tr (a b)^{1/2} of two symmetric positive semi-definite float64 matrices (n, n).

    Nothing waits for the device. Where ``converged`` is False (an indefinite matrix, eigenvalues
    between signal and round-off, NaN) the caller must compute the trace by eigenvalues. Gradients:
    d trace / d F1 = F2 U^T and d trace / d F2 = F1 U.
    """
    one, lost1, good1 = _factor(a)
    two, lost2, good2 = _factor(b)
    cross = one.mT @ two
    unitary = polar_factor(cross)
    trace = (unitary * cross).sum()
    n = a.shape[-1]
    # What U does not reach: (I - U U^T) C has the nuclear norm sum s (1 - u^2).
    missed = torch.linalg.matrix_norm(cross - unitary @ (unitary.mT @ cross))
    # What the filters may have lost, as the other side's factor sees it.
    filtered = torch.linalg.vector_norm(two.mT @ lost1) + torch.linalg.vector_norm(one.mT @ lost2)
    error = n**0.5 * (missed + filtered / _PROBES**0.5)
    rounding = 8 * n * EPS * torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(two)
    # NaN fails both comparisons. A product that is 0 to rounding has converged, too.
    small = (error <= 1e-12 * trace) | (trace + error <= rounding)
    return Polar(trace, (one, two), unitary, error, small & good1 & good2)


def polar_factor(c: Tensor) -> Tensor:
    """U of c = U H: singular values above LOWEST of the largest become 1, those at 0 stay there."""
    bound = torch.minimum(
        torch.linalg.matrix_norm(c),
        (torch.linalg.matrix_norm(c, 1) * torch.linalg.matrix_norm(c, torch.inf)).sqrt(),
    )
    x = c / torch.where(bound > 0, bound * (1 + _MARGIN), 1)
    for first, third, fifth in quintics(LOWEST):
        gram = x @ x.mT
        inner = torch.addmm(gram, gram, gram, beta=third, alpha=fifth)
        x = torch.addmm(x, inner, x, beta=first)
    return x


@cache
def quintics(lowest: float) -> tuple[tuple[float, float, float], ...]:
    """(a, b, c) of each step a x + b x^3 + c x^5; together they take [lowest, 1] to 1.

    Each step is the best approximation of 1 on the interval that the one before leaves: its error
    alternates between e and -e at both ends and at its two extrema. From a guess of the extrema
    those four equations give a, b, c and e, hence better extrema, and so on (Remez). On an interval
    narrower than a few percent the step is the quintic that is flattest in the middle.
    """
    steps = []
    low, high = lowest, 1.0
    while high - low > EPS * high:
        start = max(low, _CUSHION * high)
        if start > 0.95 * high:
            middle = (low + high) / 2
            step = 15 / 8 / middle, -10 / 8 / middle**3, 3 / 8 / middle**5
            error = 2.5 * ((high - low) / (high + low)) ** 3
            low, high = 1 - error, 1.0
        else:
            step, error = _equioscillating(start, high * (1 + _MARGIN))
            low, high = min(1 - error, _value(step, low)), 1 + error
        steps.append(step)
    return tuple(steps)


def _value(step: tuple[float, float, float], x: float) -> float:
    return x * (step[0] + x * x * (step[1] + x * x * step[2]))


def _equioscillating(low: float, high: float) -> tuple[tuple[float, float, float], float]:
    inner = low + 0.25 * (high - low), low + 0.7 * (high - low)
    for _ in range(100):
        points = torch.tensor([low, *inner, high], dtype=torch.float64)
        signs = torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
        system = torch.stack([points, points**3, points**5, signs], 1)
        right = torch.ones(4, dtype=torch.float64)
        a, b, c, error = torch.linalg.solve(system, right).tolist()
        spread = math.sqrt(9 * b * b - 20 * a * c)
        before = inner
        inner = math.sqrt((-3 * b - spread) / (10 * c)), math.sqrt((-3 * b + spread) / (10 * c))
        if math.dist(before, inner) < 1e-14 * high:
            break
    return (a, b, c), error


def _factor(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """F, what its filter may have lost, seen through some probes, and whether nothing else was."""
    n = a.shape[-1]
    tiny = 1e-280  # the zero matrix has a factor, too
    shift = (n * EPS * a.diagonal().amax()).clamp(min=tiny)
    eye = torch.eye(n, dtype=a.dtype, device=a.device)
    lower, info = torch.linalg.cholesky_ex(a + shift * eye)
    half = torch.linalg.solve_triangular(lower, a, upper=False)
    q = torch.linalg.solve_triangular(lower, half.mT, upper=False)
    q = (q + q.mT) / 2
    square = q @ q
    # With e = 1 - q: (1 - e)^{-7/2} = 1 + 7/2 e + 63/8 e^2 + 231/16 e^3 + ...
    fourth = square @ square
    factor = lower @ (fourth @ (eye * 12.375 - 19.25 * q + 7.875 * square))
    # 231 q^6 e^3: no less than what the rest of the series adds where w >= shift, and next to
    # nothing for round-off.
    probes = _signs(n, a)
    for _ in range(3):
        probes = probes - q @ probes
    lost = 231 * (lower @ (fourth @ (square @ probes)))
    # At the other end, q near 0: round-off has both signs, so its sum is no larger than its norm.
    # Weak signal (a collapsed generator) is positive throughout.
    rest = q - 3 * (q @ square) + 2 * fourth
    total = rest.diagonal().sum()
    weak = (total > 0.75 * torch.linalg.matrix_norm(rest)) & (total > 1e-6)
    return factor, lost, (info == 0) & ~weak


def _signs(n: int, like: Tensor) -> Tensor:
    """8 columns of +-1 with no pattern that a matrix could share: |M signs|^2 is near 8 |M|^2."""
    row = torch.arange(1, n + 1, dtype=like.dtype, device=like.device)[:, None]
    column = torch.arange(1, _PROBES + 1, dtype=like.dtype, device=like.device)
    return torch.where(torch.sin(row * row * column.sqrt()) > 0, 1.0, -1.0).to(like.dtype)
