"""Rows kept as the symmetric product of csrc/cpu/syrk.h reads them."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast import _cpu


class RowBuffer:
    """As :class:`ganfast.reference.RowBuffer`."""

    def __init__(self, capacity: int, n: int, device: torch.device) -> None:
        self.capacity, self.n, self.device = capacity, n, device
        self.count = 0
        panels = -(-n // _cpu.PANEL)
        self._packed = torch.empty(
            panels, capacity + 1, _cpu.PANEL, dtype=torch.float64, device="cpu"
        )
        self._place = self._packed.data_ptr(), capacity + 1, n

    def append(self, rows: Tensor) -> bool:
        """As in the reference."""
        if not self._pack(rows):
            return False
        self.count += len(rows)
        return True

    def rows(self) -> Tensor:
        """As in the reference."""
        out = torch.empty(self.count, self.n, dtype=torch.float64, device="cpu")
        _cpu.unpack_rows(*self._place, self.count, out.data_ptr())
        return out

    def centre(self) -> tuple[Tensor, Tensor]:
        """As in the reference."""
        high, low = torch.empty(2, self.n, dtype=torch.float64, device="cpu")
        threads = torch.get_num_threads()
        _cpu.centre_rows(*self._place, self.count, high.data_ptr(), low.data_ptr(), threads)
        return high, low

    def square(self, matrix: Tensor, row: Tensor) -> None:
        """As in the reference; ``matrix`` is contiguous float64."""
        self._pack(row[None])
        threads = torch.get_num_threads()
        _cpu.syrk(*self._place, self.count + 1, matrix.data_ptr(), threads)
        self.count = 0

    def _pack(self, rows: Tensor) -> bool:
        """Write rows behind the others; whether all are finite."""
        if rows.device.type != "cpu" or rows.dtype not in (torch.float32, torch.float64):
            # Half precision and uint8 are exact in float32.
            dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
            rows = rows.to("cpu", dtype)
        rows = rows.resolve_neg()
        if rows.stride(1) != 1:
            rows = rows.contiguous()
        return _cpu.pack_rows(
            *self._place,
            self.count,
            rows.data_ptr(),
            rows.dtype == torch.float64,
            rows.stride(0),
            len(rows),
            torch.get_num_threads(),
        )
