"""Linear algebra that LAPACK, as torch has it, lacks."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast import _cpu


def pivoted_panel(
    rest: Tensor, order: Tensor, panel: Tensor, factor: Tensor, start: int, cut: float, floor: float
) -> int:
    """As :func:`ganfast.reference.pivoted_panel`."""
    return _cpu.pivoted_panel(
        rest.data_ptr(),
        order.data_ptr(),
        panel.data_ptr(),
        factor.data_ptr(),
        len(rest),
        start,
        len(panel),
        cut,
        floor,
    )


def symmetry(a: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`ganfast.reference.symmetry`."""
    # A transposed matrix in memory has the same facts.
    a = (a.mT if a.mT.is_contiguous() else a).contiguous()
    n = a.shape[-1]
    facts = torch.empty(*a.shape[:-2], 2, dtype=torch.float64, device="cpu")
    threads = torch.get_num_threads()
    _cpu.symmetry(a.data_ptr(), facts.numel() // 2, n, threads, facts.data_ptr())
    return facts[..., 0], facts[..., 1]
