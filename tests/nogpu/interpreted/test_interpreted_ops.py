"""Every row of the op table that Triton serves, by its oracle."""

import op_oracles
import pytest
import torch
from oracle import DEVICE

from ganfast import _dispatch

ROWS = [(op, dtype) for op, row in _dispatch.OPS.items() for dtype in row.triton]


@pytest.mark.parametrize(("op", "dtype"), ROWS, ids=str)
def test_a_row_has_an_oracle(op, dtype):
    with _dispatch.backend("triton"):
        module = _dispatch.serve(op, (torch.empty(0, dtype=dtype, device=DEVICE),))
        op_oracles.check(op, module, DEVICE, dtype)
