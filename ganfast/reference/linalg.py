"""Linear algebra that LAPACK, as torch has it, lacks; all in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def pivoted_panel(
    rest: Tensor, order: Tensor, panel: Tensor, factor: Tensor, start: int, cut: float, floor: float
) -> int:
    """One panel of a Cholesky factorisation with complete pivoting, in place; how many pivots.

    ``rest`` (n, n) holds from row and column ``start`` on what is left of a symmetric A, with row
    ``order[i]`` of A at position i. Up to len(panel) of the largest diagonal entries are brought to
    the front, one after another. Their columns of the factor are written to the rows of ``panel``
    (by position) and of ``factor`` from ``start`` on (by row of A). What is left has not been
    updated. A pivot of at most ``cut`` ends the panel, unless it is more than ``floor`` and all of
    the diagonal is positive.
    """
    diagonal = rest.diagonal().clone()
    diagonal[:start] = -torch.inf
    done = start
    for row in panel[: len(rest) - start]:
        value, index = diagonal.max(0)
        top, least = float(value), float(diagonal[diagonal > -torch.inf].amin())
        if top <= cut and (top <= floor or least <= 0):
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
    largest |a_ij - a_ji|."""
    peak = a.abs().amax((-2, -1))
    peak = torch.where(torch.isfinite(peak), peak, torch.nan)
    return peak, (a - a.mT).abs_().amax((-2, -1))
