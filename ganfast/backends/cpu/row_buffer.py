"""Rows kept as the symmetric product of csrc/cpu/syrk.h reads them."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast import _cpu
from ganfast.backends.cpu.layout import any_layout

_pack_rows = any_layout(_cpu.pack_rows)


class RowBuffer:
    """As in the reference."""

    def __init__(self, capacity: int, n: int, device: torch.device) -> None:
        self.capacity, self.n, self.device = capacity, n, device
        self.count = 0
        panels = -(-n // _cpu.PANEL)
        self._packed = torch.empty(
            panels, capacity + 1, _cpu.PANEL, dtype=torch.float64, device="cpu"
        )

    def append(self, rows: Tensor, *, checked: bool = False) -> bool:
        """As in the reference; to look at them costs nothing beside copying them."""
        if not self._pack(rows):
            return False
        self.count += len(rows)
        return True

    def rows(self) -> Tensor:
        """As in the reference."""
        out = torch.empty(self.count, self.n, dtype=torch.float64, device="cpu")
        _cpu.unpack_rows(self.n, self._packed, out)
        return out

    def centre(self) -> tuple[Tensor, Tensor]:
        """As in the reference."""
        high, low = torch.empty(2, self.n, dtype=torch.float64, device="cpu")
        _cpu.centre_rows(self.n, self.count, self._packed, high, low)
        return high, low

    def square(self, matrix: Tensor, row: Tensor) -> None:
        """As in the reference; ``matrix`` is contiguous float64."""
        self._pack(row[None])
        _cpu.syrk(self.n, self.count + 1, self._packed, matrix)
        self.count = 0

    def _pack(self, rows: Tensor) -> bool:
        """Write rows behind the others; whether all are finite."""
        if rows.device.type != "cpu" or rows.dtype not in (torch.float32, torch.float64):
            # Half precision and uint8 are exact in float32.
            dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
            rows = rows.to("cpu", dtype)
        return bool(_pack_rows(self.n, self.count, rows, self._packed))
