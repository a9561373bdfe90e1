"""Linear algebra that LAPACK, as torch has it, lacks."""

from __future__ import annotations

from torch import Tensor

from ganfast import _cpu


def pivoted_panel(
    rest: Tensor, order: Tensor, panel: Tensor, factor: Tensor, start: int, cut: float, floor: float
) -> int:
    """As :func:`ganfast.reference.pivoted_panel`."""
    addresses = (x.data_ptr() for x in (rest, order, panel, factor))
    return _cpu.pivoted_panel(*addresses, len(rest), start, len(panel), cut, floor)
