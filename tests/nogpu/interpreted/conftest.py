"""What the interpreter does differently from the hardware, and what these tests do about it."""

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
from triton import language
from triton.language import core
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


# What follows spares the interpreter what it does over and over, two thirds of its time.

# Whether an integer overflows it works out, but says only with `debug`, which is off.
interpreter.interpreter_builder.options = dataclasses.replace(
    interpreter.interpreter_builder.options, sanitize_overflow=False
)

_patch_lang = interpreter._patch_lang


@cache
def _languages(function):
    return [x for x in function.__globals__.values() if x is language or x is core]


def _patch_once(function):
    # It replaces the whole language at every call of a device function, of which a launch has
    # hundreds, though the launch has replaced it all.
    if any(core.is_builtin(each.load) for each in _languages(function)):
        return _patch_lang(function)
    return None


interpreter._patch_lang = _patch_once

_np_dtype_of_element = cache(interpreter._get_np_dtype)


def _np_dtype(dtype):
    element = dtype.scalar
    return np.dtype(np.uint64) if element.is_ptr() else _np_dtype_of_element(element)


interpreter._get_np_dtype = _np_dtype


@cache
def _extent(shape):
    return core.tuple([core.constexpr(n) for n in shape]), core.constexpr(math.prod(shape))


def _tensor(self, handle, kind):
    self.handle, self.type, self.dtype = handle, kind, kind.scalar
    self.shape, self.numel = _extent(tuple(kind.shape) if kind.is_block() else ())


core.tensor.__init__ = _tensor

_block_type, _blocks = core.block_type.__init__, {}


def _block(self, element, shape):
    key = element.name, *shape
    if key not in _blocks:
        _block_type(self, element, shape)
        _blocks[key] = vars(self).copy()
    vars(self).update(_blocks[key])


core.block_type.__init__ = _block
