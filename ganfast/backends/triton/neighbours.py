"""The host's part of nearest neighbours and balls: transposed rows, the grid, the last few of many.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from ganfast.backends.triton.kernels.neighbours import ball_kernel, nearest_kernel
from ganfast.backends.triton.launch import OPTIONS, on_device
from ganfast.errors import Refusal

TILE = 32
"""Rows and columns of a tile: 8 float64 for each of 128 threads. With 64, and as many for the kept
and the indices that a minimum carries, it needs all 255 registers. (Not measured on a GPU.)"""

MOST = 64
"""Neighbours that a program keeps in registers."""

_PROGRAMS = 512
"""With fewer rows than fill them, several programs share a row's neighbours. (Reasoned, not
measured.)"""


def nearest_distances(x: Tensor, k: int) -> Tensor:
    """As in the reference, for float32 and float64 and k up to MOST."""
    if k > MOST:
        raise Refusal(f"the kernel keeps up to {MOST} neighbours, not {k}")
    n, d = x.shape
    kept, blocks = triton.next_power_of_2(k), triton.cdiv(n, TILE)
    tiles = triton.cdiv(blocks, max(1, min(blocks, triton.cdiv(_PROGRAMS, max(1, blocks)))))
    parts = triton.cdiv(blocks, max(1, tiles))
    out = torch.empty(parts, n, kept, dtype=torch.float64, device=x.device)
    if n:
        with on_device(x.device):
            nearest_kernel[(blocks, parts)](
                out, x.T.contiguous(), n, d, tiles, K=k, KEPT=kept, TILE=TILE, **OPTIONS
            )
    found = out.permute(1, 0, 2).reshape(n, parts * kept)
    # What only fills up to a power of two is -inf.
    found = torch.where(found < 0, torch.inf, found)
    return found.topk(k, largest=False, sorted=True).values


def ball_counts(
    x: Tensor, y: Tensor, x_limits: Tensor, y_limits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As in the reference, for float32 and float64."""
    (p, n), (q, m) = x_limits.shape, y_limits.shape
    x_holds, y_inside, y_holds, x_inside = counts = tuple(
        torch.zeros(shape, dtype=torch.int32, device=x.device)
        for shape in ((p, n), (p, m), (q, m), (q, n))
    )
    if n and m:
        with on_device(x.device):
            ball_kernel[(triton.cdiv(n, TILE), triton.cdiv(m, TILE))](
                *counts, x.T.contiguous(), y.T.contiguous(),
                x_limits.contiguous(), y_limits.contiguous(), n, m, x.shape[1],
                P=p, Q=q, TILE=TILE, **OPTIONS,
            )  # fmt: skip
    return x_holds.long(), y_inside.long(), y_holds.long(), x_inside.long()
