"""What every launch shares: block sizes, scalars in bits, the counter of running sums, the device.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
import triton
from torch import Tensor
from triton.compiler import CompiledKernel

from ganfast._philox import Key
from ganfast.backends.triton.kernels.scalars import wide_integer
from ganfast.errors import Refusal

INTERPRETED = not isinstance(wide_integer, triton.JITFunction)
"""Whether TRITON_INTERPRET was set when the kernels were made: CPU tensors then, and no GPU."""

BLOCK_LOG2 = {False: 10, True: 8}
"""By whether the numbers are float64. A block gives each of 128 threads 8 logits, two 16-byte
loads of float32 or one of half precision; or 2 of float64: with more, some assemblers spill."""

MAX_PROGRAMS = 4096
"""A sum over more blocks gives several to each program: enough programs to fill a large GPU a few
times over, few enough that the last one adds their partial sums in two loads. (Reasoned, not yet
measured.) The sizes alone decide, so a sum is bitwise the same every time."""

# enable_fp_fusion: the error bounds assume it; said here, because Triton 3.10 changes the default.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}

_counters: dict[tuple[int | None, int], Tensor] = {}
"""By device and stream: a zero that running sums count their programs with and leave at zero."""


class Bound:
    """A kernel and its constants. The second launch of a kind goes straight to the compiled kernel:
    Triton's own way binds and looks at each argument again, for 30 us of the host's time.

    The kernel's parameters are pointers, then integers that are not specialised, then ``constants``
    in this order.
    """

    def __init__(self, kernel: Any, **constants: Any) -> None:
        self.kernel, self.constants = kernel, constants
        self.values = tuple(constants.values())

    def __call__(
        self, device: torch.device, grid: int, tensors: Sequence[Tensor | None], *numbers: int
    ) -> None:
        """Launch it, on torch's current stream of ``device``, which must be the current one."""
        # All that Triton compiles for: the types of the pointers, and whether they are aligned.
        kind: list[Any] = [self, device.index]
        for x in tensors:
            kind += (None, None) if x is None else (x.dtype, x.data_ptr() % 16 == 0)
        key = tuple(kind)
        compiled = _compiled.get(key)
        if compiled is not None:
            compiled[(grid, 1, 1)](*tensors, *numbers, *self.values)
            return
        compiled = self.kernel[(grid,)](*tensors, *numbers, **self.constants, **OPTIONS)
        if isinstance(compiled, CompiledKernel):  # not in the interpreter
            _compiled[key] = compiled


_compiled: dict[tuple[Any, ...], CompiledKernel] = {}


@lru_cache(maxsize=1024)
def bits(number: float) -> int:
    """The bits of ``number`` as a float64, in an int64."""
    return int(struct.unpack("q", struct.pack("d", number))[0])


def key_argument(key: Key | None) -> tuple[Tensor | None, int]:
    """(pointer, number) of which a kernel reads one: 64 bits, as a signed number."""
    if isinstance(key, Tensor):
        return key, 0
    return None, 0 if key is None else (key + 2**63) % 2**64 - 2**63


def counter(device: torch.device, once: bool) -> Tensor:
    """A zero on ``device`` that no other running sum counts with.

    Kernels on one stream run one after another, so sums of one launch can share one. Others get
    a zero of their own: a count over several launches could be interrupted between them, and a
    CUDA graph may be replayed on any stream, beside anything; its zero is made anew at each replay.
    """
    if device.type != "cuda" or not once or torch.cuda.is_current_stream_capturing():
        return torch.zeros((), dtype=torch.int32, device=device)
    place = (device.index, torch.cuda.current_stream(device).cuda_stream)
    found = _counters.get(place)
    if found is None:
        found = _counters[place] = torch.zeros((), dtype=torch.int32, device=device)
    return found


def need_memory(tensors: Iterable[Tensor | None]) -> None:
    """Refusal where one has none: torch's efficient zero tensors, batched gradients."""
    for x in tensors:
        try:
            there = x is None or bool(x.data_ptr()) or not x.numel()
        except RuntimeError:
            there = False
        if not there:
            raise Refusal("a tensor has no memory of its own")


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device, on torch's current stream there."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return _THERE
    return torch.cuda.device(device)


_THERE = nullcontext()
