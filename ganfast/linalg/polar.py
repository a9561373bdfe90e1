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
singular value of 1e-6 of the largest reaches 1 in 13 steps, which is enough for most spectra; one
of 1e-12 in 22. By half a step of Newton and Schulz, <U, C - U U^T C> / 2, the trace then gains
twice the digits that U has.

Gradients. (C^T C)^{-1/2} is the inverse of H = U^T C on the range of U, and (H + h (I - U^T U))^-1
with h = |H| is that inverse there. No eigenvectors and no gaps between eigenvalues are involved.

Flops: a step is three products, 6 n^3, and 13 of them 78 n^3 (22: 132 n^3); each factor takes
12 n^3, C, U^T C and the check 6 n^3 more: 108 n^3 in all, of which all but the factors' 4.7 n^3 are
products. At n = 2048 that is 0.93e12, 15 ms at 60 TFLOP/s of float64 (reasoned, not measured).
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

QUICK = 1e-6
"""The same for the first attempt."""

ACCEPTED = 1e-9
"""Relative to the trace, the estimated error that is no reason to go on."""

_CUSHION = 0.005  # of the interval: a quintic fitted further down would dip to round-off in between
_MARGIN = 1e-9  # past the end of each interval, where a quintic grows fast: room for round-off
_PROBES = 8


class Polar(NamedTuple):
    """The trace, what its gradients are made of, and how far it can be trusted."""

    trace: Tensor
    factors: tuple[Tensor, Tensor]  # F1, F2
    unitary: Tensor  # U, the polar factor of F1^T F2 where that is not 0
    error: Tensor  # an estimate of the absolute error besides rounding
    converged: Tensor  # bool: whether the error is below ACCEPTED of the trace
    worthwhile: Tensor  # bool: whether it may be after more steps
    filtered: Tensor  # the part of the error that the factors have


def serves(x: Tensor) -> bool:
    """Whether products are the faster way: on GPUs, whose eigensolvers wait for memory."""
    return x.is_cuda and x.dim() == 2


def polar_trace(a: Tensor, b: Tensor, lowest: float = LOWEST) -> Polar:
    """Tr (a b)^{1/2} of two symmetric positive semi-definite float64 matrices (n, n).

    Nothing waits for the device. Where ``converged`` is False (an indefinite matrix, eigenvalues
    between signal and round-off, NaN) the caller must go on with ``continued`` or compute the trace
    by eigenvalues. Gradients: d trace / d F1 = F2 U^T and d trace / d F2 = F1 U.
    """
    one, lost1, good1 = _factor(a)
    two, lost2, good2 = _factor(b)
    # What the filters may have lost, as the other side's factor sees it.
    filtered = torch.linalg.vector_norm(two.mT @ lost1) + torch.linalg.vector_norm(one.mT @ lost2)
    filtered = torch.where(good1 & good2, (len(a) / _PROBES) ** 0.5 * filtered, torch.inf)
    return polar_of_factors(one, two, filtered, lowest)


def polar_of_factors(one: Tensor, two: Tensor, filtered: Tensor, lowest: float = LOWEST) -> Polar:
    """|| one^T two ||_*, where the factors are known to within an error of ``filtered``."""
    cross = one.mT @ two
    return _judged(one, two, cross, polar_factor(cross, lowest), filtered)


def continued(found: Polar) -> Polar:
    """``found``, begun with QUICK, as if begun with LOWEST."""
    one, two = found.factors
    grown = LOWEST
    for step in quintics(QUICK):
        grown = _value(step, grown)
    unitary = polar_factor(found.unitary, grown)
    return _judged(one, two, one.mT @ two, unitary, found.filtered)


def _judged(one: Tensor, two: Tensor, cross: Tensor, unitary: Tensor, filtered: Tensor) -> Polar:
    rest = cross - unitary @ (unitary.mT @ cross)
    trace = (unitary * (cross + rest / 2)).sum()
    # What U does not reach: (I - U U^T) C has the nuclear norm sum s (1 - u^2).
    missed = min(cross.shape) ** 0.5 * torch.linalg.matrix_norm(rest)
    error = missed + filtered
    rounding = 8 * max(cross.shape) * EPS
    rounding = rounding * torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(two)
    # NaN fails both comparisons. A product that is 0 to rounding has converged, too.
    converged = (error <= ACCEPTED * trace) | (trace + error <= rounding)
    worthwhile = (filtered <= ACCEPTED * trace) & ~converged
    return Polar(trace, (one, two), unitary, error, converged, worthwhile, filtered)


def quickest(found: Polar) -> Polar | None:
    """``found``, begun with QUICK, continued if that is needed; None if it does not converge."""
    converged, worthwhile = torch.stack([found.converged, found.worthwhile]).tolist()
    if not converged and worthwhile:
        found = continued(found)
        converged = bool(found.converged)
    return found if converged else None


def inverse_roots(found: Polar) -> tuple[Tensor, Tensor] | None:
    """(C^T C)^{-1/2} and (C C^T)^{-1/2} on their ranges for C = F1^T F2; None if it has not
    converged, or where U leaves singular values between 0 and 1: whether they are in the range is
    not known then."""
    one, two = found.factors
    cross, u = one.mT @ two, found.unitary
    results = []
    doubt = torch.zeros((), dtype=u.dtype, device=u.device)
    for polar, c in ((u, cross), (u.mT, cross.mT)):
        gram = polar.mT @ polar
        doubt = doubt + torch.linalg.matrix_norm(gram @ gram - gram)
        size = torch.linalg.matrix_norm(c).clamp(min=1e-280)
        inner = polar.mT @ c
        inner = (inner + inner.mT) / 2 - size * gram
        inner.diagonal().add_(size)
        lower, info = torch.linalg.cholesky_ex(inner)
        doubt = doubt + info
        half = torch.linalg.solve_triangular(lower, gram, upper=False)
        results.append(half.mT @ half)
    return (results[0], results[1]) if bool((doubt <= 1e-6) & found.converged) else None


def triangle(rows: Tensor) -> Tensor:
    """R with R^T R = rows^T rows for more rows than columns: QR without the reflections, which wait
    for memory. Two Cholesky factorisations, shifted against round-off (Fukaya et al., 2020,
    arXiv:1809.11085); as accurate as QR relative to the largest singular value."""
    n = rows.shape[-1]
    result, q = None, rows
    for _ in range(2):
        gram = q.mT @ q
        gram.diagonal().add_((n * EPS * gram.diagonal().amax()).clamp(min=1e-280))
        # The second gram is near the identity: what the shift adds is taken off again.
        upper = torch.linalg.cholesky_ex(gram).L.mT / (1 + n * EPS) ** 0.5
        result = upper if result is None else upper @ result
        q = torch.linalg.solve_triangular(upper, q, upper=True, left=False)
    assert result is not None
    return result


def norm_of_rows(one: Tensor, two: Tensor, lowest: float = LOWEST) -> Polar:
    """|| one two^T ||_* of the rows of two sides, or of triangles in their place."""
    return polar_of_factors(one.mT, two.mT, one.new_zeros(()), lowest)


def polar_factor(c: Tensor, lowest: float = LOWEST) -> Tensor:
    """U of c = U H: singular values above ``lowest`` of the largest become 1, those at 0 stay."""
    if c.shape[-2] > c.shape[-1]:
        return polar_factor(c.mT, lowest).mT
    bound = torch.minimum(
        torch.linalg.matrix_norm(c),
        (torch.linalg.matrix_norm(c, 1) * torch.linalg.matrix_norm(c, torch.inf)).sqrt(),
    )
    x = c / torch.where(bound > 0, bound * (1 + _MARGIN), 1)
    for first, third, fifth in quintics(lowest):
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
