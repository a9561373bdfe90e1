"""Linear algebra that LAPACK, as torch has it, lacks, and batches of roots; all in float64."""

from __future__ import annotations

import torch
from torch import Tensor

BATCH_LIMIT: dict[str, int] = {}
"""Up to which n the batch function of an op is the fastest way: for none, since torch loops."""


def batch_sqrtm(a: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """The positive semi-definite roots of symmetric (B, n, n), and which are definite (B,).

    Definite: no eigenvalue is below -tolerance times the largest one. Smaller negative ones count
    as zero. What stands in the root of a matrix that is not definite is not specified.
    """
    w, v = torch.linalg.eigh(a)
    return (v * w.clamp(min=0).sqrt()[..., None, :]) @ v.mT, _definite(w, tolerance)


def batch_trace_sqrtm(
    a: Tensor, b: Tensor, tolerance_a: float, tolerance_b: float
) -> tuple[Tensor, Tensor]:
    """Tr (a b)^{1/2} in float64 for symmetric (B, n, n), and which pairs are definite (B,).

    The nuclear norm of L1^T L2 for factors a = L1 L1^T and b = L2 L2^T, without the eigenvalues of
    ``a`` and ``b`` up to n eps of their largest, which are round-off.
    """
    factors, definite = [], []
    for x, tolerance in ((a, tolerance_a), (b, tolerance_b)):
        w, v = torch.linalg.eigh(x.double())
        cut = x.shape[-1] * torch.finfo(torch.float64).eps * w.abs().amax(-1, keepdim=True)
        factors.append(v * torch.where(w > cut, w, 0).sqrt()[..., None, :])
        definite.append(_definite(w, tolerance))
    traces = torch.linalg.svdvals(factors[0].mT @ factors[1]).sum(-1)
    return traces, definite[0] & definite[1]


def _definite(w: Tensor, tolerance: float) -> Tensor:
    return w[..., 0] >= -tolerance * w.abs().amax(-1)


def pivoted_panel(
    rest: Tensor,
    order: Tensor,
    panel: Tensor,
    factor: Tensor,
    start: int,
    cut: float,
    floor: float,
    many: int,
) -> int:
    """One panel of a Cholesky factorisation with complete pivoting, in place; how many pivots.

    ``rest`` (n, n) holds from row and column ``start`` on what is left of a symmetric A, with row
    ``order[i]`` of A at position i. Up to len(panel) of the largest diagonal entries are brought to
    the front, one after another. Their columns of the factor are written to the rows of ``panel``
    (by position) and of ``factor`` from ``start`` on (by row of A). What is left has not been
    updated. A pivot of at most ``cut`` ends the panel, unless it is more than ``floor``, all of the
    diagonal is positive, and at least ``many`` entries of it are left.
    """
    diagonal = rest.diagonal().clone()
    diagonal[:start] = -torch.inf
    done = start
    for row in panel[: len(rest) - start]:
        value, index = diagonal.max(0)
        top, least = float(value), float(diagonal[diagonal > -torch.inf].amin())
        few = len(rest) - done < many
        if top <= cut and (top <= floor or least <= 0 or few):
            break
        # Swap the pivot to position `done` in everything that goes by position.
        pair, swapped = [done, int(index)], [int(index), done]
        rest[:, pair] = rest[:, swapped]
        rest[pair] = rest[swapped]
        panel[:, pair] = panel[:, swapped]
        order[pair] = order[swapped]
        diagonal[pair] = diagonal[swapped]
        earlier = panel[: done - start]
        row.copy_((rest[done] - earlier[:, done] @ earlier).div_(top**0.5))
        row[:done] = 0
        diagonal.addcmul_(row, row, value=-1)
        diagonal[done] = -torch.inf
        factor[done, order] = row
        done += 1
    return done - start


def symmetry(a: Tensor) -> tuple[Tensor, Tensor]:
    """For matrices (..., n, n), n > 0: the largest |a_ij|, NaN unless all are finite, and the
    largest |a_ij - a_ji| relative to that."""
    peak = a.abs().amax((-2, -1))
    peak = torch.where(torch.isfinite(peak), peak, torch.nan)
    off = (a - a.mT).abs_().amax((-2, -1))
    return peak, torch.where(peak == 0, 0.0, off / peak)
