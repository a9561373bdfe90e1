"""Linear algebra that LAPACK, as torch has it, lacks."""

from __future__ import annotations

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
