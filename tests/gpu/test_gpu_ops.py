"""Every row of the op table on the hardware, by its oracle, by whichever backend serves there."""

from __future__ import annotations

import op_oracles
import pytest
import torch

from ganfast import _dispatch

ROWS = [
    (op, backend, dtype)
    for op, row in _dispatch.OPS.items()
    for backend in ("triton", "cuda", "reference")
    for dtype in getattr(row, backend, row.cpu)
]


@pytest.mark.parametrize(("op", "backend", "dtype"), ROWS, ids=str)
def test_a_row_has_an_oracle(op, backend, dtype):
    with _dispatch.backend(backend):
        module = _dispatch.serve(op, (torch.empty(0, dtype=dtype, device="cuda"),))
        op_oracles.check(op, module, "cuda", dtype)
