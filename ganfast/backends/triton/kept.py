"""Launches that are done again and again in one way, by csrc/cpu/module_launch.cpp: Python's checks
and arguments, and then Triton's own launcher, take longer than the kernel of a small loss.

Whatever is not known here is launched by Triton: kernels that want more of its launcher than their
arguments, versions that nobody has compared, a profiler's hooks.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import triton
from torch import Tensor
from triton.runtime import driver

from ganfast.backends.triton import launch
from ganfast.errors import Refusal

_cpu: Any
try:
    from ganfast import _cpu
except ImportError:  # not built: Triton launches
    _cpu = None

LIBRARY = "libcuda.so.1"
"""The driver, as Triton opens it."""

COMPARED = (3, 6), (3, 9)
"""The first and the last version of Triton whose launcher gives the driver the same as ours does:
the arguments that are no constants, and two pointers to memory that these kernels do not use."""

_SCRATCH = 0, 0
_MOST = 16  # attempts for one kind; a loss whose sizes are new at each step gains nothing


class Kept:
    """Launches of one kind: of one kernel of one loss, say, on tensors of several sizes."""

    def __init__(self) -> None:
        self.launches: list[Any] = []
        self.attempts = 0
        self.open = True
        """Whether more are taken."""

    def add(
        self,
        compiled: launch.Compiled,
        kernel: launch.Bound,
        grid: int,
        pointers: Sequence[Tensor | None],
        numbers: Sequence[float],
        given: tuple[Any, ...],
    ) -> None:
        """Keeps a launch, if it can be, of ``kernel`` on these pointers and numbers. It is found
        again by the tensors ``given``, among which the pointers are."""
        self.attempts += 1
        parameters = None
        if _simple(compiled):
            parameters = _parameters(compiled, kernel, (*pointers, *numbers), given)
        self.open = parameters is not None and self.attempts < _MOST
        if parameters is None:
            return
        threads, _, shared = compiled.metadata
        of_device = driver.active.get_current_stream
        try:
            made = _cpu.kept_launch(
                compiled.function, grid, 32 * threads, shared, of_device, *parameters, given
            )
        except Refusal:  # unaligned memory, or none
            return
        self.launches.append(made)

    def run(self, given: tuple[Tensor, ...]) -> bool:
        """Whether one of them takes these tensors, and is done."""
        return not launch._watched() and _cpu.launch(self.launches, given)


@cache
def _driver(library: str) -> bool:
    version = tuple(int(part) for part in triton.__version__.split(".")[:2])
    known = COMPARED[0] <= version <= COMPARED[1]
    return known and _cpu is not None and _cpu.use_driver(library)


def _simple(compiled: launch.Compiled) -> bool:
    """Whether Triton's launcher would only hand the arguments to the driver."""
    run = compiled.run
    more = ("global_scratch_size", "profile_scratch_size", "launch_cooperative_grid", "launch_pdl")
    return (
        type(compiled.function) is int
        and len(compiled.metadata) == 3
        and getattr(run, "num_ctas", 0) == 1
        and not any(getattr(run, name, True) for name in more)
        and not getattr(run, "gsan_enabled", False)
        and _driver(LIBRARY)
    )


def _parameters(
    compiled: launch.Compiled,
    kernel: launch.Bound,
    arguments: tuple[Any, ...],
    given: tuple[Any, ...],
) -> tuple[list[int], list[int]] | None:
    """The bits of each parameter, and which of ``given`` it is the address of (-1: none)."""
    numbers, places = [], []
    index = {id(x): place for place, x in enumerate(given)}
    for name, value in zip(kernel.kernel.arg_names, arguments, strict=False):
        kind = compiled.types.get(name)
        if kind == "constexpr":
            continue
        if kind == "i64":
            number, place = value, -1
        elif kind == "fp32":
            number, place = struct.unpack("I", struct.pack("f", value))[0], -1
        elif isinstance(value, Tensor) and id(value) in index:
            number, place = 0, index[id(value)]
        else:
            return None
        numbers.append(number)
        places.append(place)
    return [*numbers, *_SCRATCH], [*places, *[-1] * len(_SCRATCH)]
