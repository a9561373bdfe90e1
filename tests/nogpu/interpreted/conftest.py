"""What the interpreter does differently from the hardware, and what these tests do about it."""

import numpy as np
import pytest
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle


def pytest_collection_modifyitems(items):
    # NumPy warns where IEEE arithmetic makes an inf or a NaN, which these tests provoke on purpose.
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore::RuntimeWarning"))


def _fused(self, x, y, z):
    # A product of two float32 is exact in float64, so the result is the GPU's, but for a double
    # rounding in one case of 2^29. The interpreter's own fma rounds the product to float32.
    wide = x.data.astype(np.float64) * y.data + z.data
    return TensorHandle(wide.astype(x.data.dtype), x.dtype)


InterpreterBuilder.create_fma = _fused
