"""What the interpreter does differently from the hardware, and what these tests do about it."""

import inspect
from functools import cache

import numpy as np
import pytest
from triton.language.core import is_builtin
from triton.runtime import interpreter
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


@cache
def _builtins(place):
    return [name for name, member in inspect.getmembers(place) if is_builtin(member)]


def _patch_builtin(place, *how):
    # The interpreter's own looks through the whole language at every call of a device function, of
    # which a launch has hundreds, though the launch has replaced it all: two thirds of the time.
    names = _builtins(place)
    if names and is_builtin(getattr(place, names[0])):
        for name in names:
            interpreter._patch_attr(place, name, getattr(place, name), *how)


interpreter._patch_builtin = _patch_builtin
