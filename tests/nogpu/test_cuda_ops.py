"""Every row of the op table that CUDA C++ serves, by its oracle, its kernels run on the host."""

from __future__ import annotations

import importlib

import cuda_host
import op_oracles
import pytest

from ganfast._dispatch import OPS

ROWS = [(op, dtype) for op, row in OPS.items() for dtype in row.cuda]


@pytest.mark.parametrize(("op", "dtype"), ROWS, ids=str)
def test_a_row_has_an_oracle(op, dtype):
    module = importlib.import_module(f"ganfast.backends.cuda.{OPS[op].module}")
    with cuda_host.gpu() as launches:
        op_oracles.check(op, module, "cpu", dtype)
        assert launches, "the reference served"
