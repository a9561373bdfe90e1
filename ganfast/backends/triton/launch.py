"""What every launch shares: block sizes, scalars in bits, the counter of running sums, the device.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.compiler import CompiledKernel
from triton.runtime import driver

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


class Compiled(NamedTuple):
    """What a launch needs of a compiled kernel."""

    run: Any
    function: Any
    metadata: Any  # warps, blocks of a cluster, bytes of shared memory
    types: dict[str, str]  # of the parameters
    owner: Any  # whose end unloads the function, from Triton 3.8 on


class Bound:
    """A kernel and its constants. The second launch of a kind goes straight to the compiled kernel:
    Triton's own way binds and looks at each argument again, for 30 us of the host's time.

    The kernel's parameters are pointers, then numbers, then constants. Of the numbers only one
    called ``length``, the first, is specialised: on being a multiple of 16 or 1.
    """

    def __init__(self, kernel: Any, constants: dict[str, Any]) -> None:
        self.kernel, self.constants = kernel, constants
        self.values = tuple(constants[name] for name in kernel.arg_names if name in constants)
        self.of_rows = "length" in kernel.arg_names

    def __call__(
        self, device: torch.device, grid: int, tensors: Sequence[Tensor | None], *numbers: float
    ) -> Compiled | None:
        """Launch it, on torch's current stream of ``device``, which must be the current one.

        Returns what was launched, from the second time on.
        """
        # All that Triton compiles for: the types of the pointers, and which of them are aligned.
        kind: list[Any] = [x if x is None else x.dtype for x in tensors]
        addresses = 0
        for x in tensors:
            if x is not None:
                addresses |= x.data_ptr()
        if addresses & 15:
            kind += [x is not None and x.data_ptr() % 16 == 0 for x in tensors]
        if self.of_rows:
            kind += numbers[0] % 16 == 0, numbers[0] == 1
        key = self, device.index, *kind
        compiled = _compiled.get(key)
        if compiled is None or _watched():
            compiled = self.kernel[(grid,)](*tensors, *numbers, **self.constants, **OPTIONS)
            if isinstance(compiled, CompiledKernel):  # not in the interpreter
                _compiled[key] = _needed(compiled)
            return None
        run, function, metadata, _, _ = compiled
        stream = driver.active.get_current_stream(device.index)
        run(grid, 1, 1, stream, function, metadata, None, None, None,
            *tensors, *numbers, *self.values)  # fmt: skip
        return compiled


@cache
def _bind(kernel: Any, *constants: tuple[str, Any]) -> Bound:
    return Bound(kernel, dict(constants))


def bind(kernel: Any, **constants: Any) -> Bound:
    """``kernel`` with these constants: the same object each time."""
    return _bind(kernel, *constants.items())


_compiled: dict[tuple[Any, ...], Compiled] = {}


def _needed(compiled: CompiledKernel) -> Compiled:
    names = compiled.src.fn.arg_names
    types = {
        key if isinstance(key, str) else names[key[0]]: kind
        for key, kind in compiled.src.signature.items()
    }
    run, function, metadata = compiled.run, compiled.function, compiled.packed_metadata
    return Compiled(run, function, metadata, types, compiled)


def _watched() -> bool:
    """Whether someone, a profiler say, wants to be told of each launch: Triton's own way does."""
    hooks = triton.knobs.runtime
    return bool(hooks.launch_enter_hook.calls or hooks.launch_exit_hook.calls)


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
    if device.type != "cuda" or not once or capturing(device):
        return torch.zeros((), dtype=torch.int32, device=device)
    place = (device.index, torch.cuda.current_stream(device).cuda_stream)
    found = _counters.get(place)
    if found is None:
        found = _counters[place] = torch.zeros((), dtype=torch.int32, device=device)
    return found


def capturing(device: torch.device) -> bool:
    """Whether what is launched on ``device`` now goes into a CUDA graph."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


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
