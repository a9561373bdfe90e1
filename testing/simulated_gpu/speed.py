"""What ttsem does over and over, done faster: 2.6 s for a loss of 4,096 logits became 0.1 s.

Fused multiply-adds are the C library's in place of fractions of Python's; both round the exact sum
once. The text of a kernel is parsed at its first launch only: what comes of it is only read. And
whether what ``Tensor.to`` is given means ``cuda`` is not read from the printed numbers of a tensor.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
from collections.abc import Callable, Iterator
from functools import lru_cache
from unittest import mock

import torch
from ttsem import harness, ops, sanitize

exactly = ops._fma_scalar
"""ttsem's."""

_libm = ctypes.CDLL(ctypes.util.find_library("m"))
_double, _single = _libm.fma, _libm.fmaf
for _function, _kind in ((_double, ctypes.c_double), (_single, ctypes.c_float)):
    _function.argtypes, _function.restype = (_kind,) * 3, _kind

_BY_FORMAT = {ops._FMA_FORMATS["f64"]: _double, ops._FMA_FORMATS["f32"]: _single}


def fma(
    a: float, b: float, c: float, form: tuple[int, int, int] = ops._FMA_FORMATS["f64"]
) -> float:
    """a * b + c of numbers of that format, rounded once."""
    fused = _BY_FORMAT.get(form)
    return exactly(a, b, c, form) if fused is None else float(fused(a, b, c))


def means_cuda(device: object, _asked: Callable[[object], bool] = sanitize._is_cuda) -> bool:
    return isinstance(device, str | torch.device) and _asked(device)


@contextlib.contextmanager
def fast() -> Iterator[None]:
    parse = lru_cache(maxsize=256)(harness.mlir.parse)
    with (
        mock.patch.object(ops, "_fma_scalar", fma),
        mock.patch.object(harness.mlir, "parse", parse),
        mock.patch.object(sanitize, "_is_cuda", means_cuda),
    ):
        yield
