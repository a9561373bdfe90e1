"""What happens on the host: contiguous tensors, outputs, the shape of the grid, the launch.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
import triton
from torch import Tensor

from ganfast._philox import Key
from ganfast.backends.triton.losses import MAX_TENSORS, map_kernel, sum_kernel
from ganfast.games import LossSpec

INTERPRETED = not isinstance(sum_kernel, triton.JITFunction)
"""Whether TRITON_INTERPRET was set when the kernels were made: CPU tensors then, and no GPU."""

_BLOCK_LOG2 = {False: 10, True: 8}
"""By whether the numbers are float64. A block gives each of 128 threads 8 logits, two 16-byte
loads of float32 or one of half precision; or 2 of float64: with more, some assemblers spill."""

_SINGLE = 4
"""A sum of so few blocks is left to one program, which needs neither a buffer nor a counter."""

_MAX_PROGRAMS = 4096
"""A sum over more blocks gives several to each program: enough programs to fill a large GPU a few
times over, few enough that the last one adds their partial sums in two loads. (Reasoned, not yet
measured.) The sizes alone decide, so a sum is bitwise the same every time."""

_counters: dict[tuple[int | None, int], Tensor] = {}
"""By device and stream: a zero that sum_kernel counts its programs with and leaves at zero."""


def adversarial_loss(
    logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None, dtype: torch.dtype
) -> Tensor | tuple[Tensor, ...]:
    """sum_j weight_j * sum_i phi(logits_j[i], target_j[i]), or each phi, as in the reference."""
    logits = tuple(_contiguous(x) for x in logits)
    if spec.reduction == "none":
        values = tuple(torch.empty_like(x, dtype=dtype) for x in logits)
        _map(logits, (None,) * len(logits), None, values, spec, key, slope=False)
        return values
    return _sum(logits, spec, key, dtype)


def adversarial_loss_gradient(
    grad_outputs: Sequence[Tensor],
    logits: Sequence[Tensor],
    spec: LossSpec,
    key: Key | None,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """weight_j * phi'(logits_j, target_j) * grad_output where needed, as in the reference."""
    # Everything keeps its position, which is the stream that a tensor's noise is drawn from.
    xs = [_contiguous(x) if need else None for x, need in zip(logits, needed, strict=True)]
    gradients = tuple(None if x is None else torch.empty_like(x) for x in xs)
    if spec.reduction == "none":
        grads = [
            None if x is None or x.numel() == 0 else _contiguous(g)
            for x, g in zip(xs, grad_outputs, strict=True)
        ]
        _map(xs, grads, None, gradients, spec, key, slope=True)
    else:
        grad = grad_outputs[0].resolve_neg()
        _map(xs, (None,) * len(xs), grad, gradients, spec, key, slope=True)
    return gradients


def _sum(logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None, dtype: torch.dtype) -> Tensor:
    device, wide = logits[0].device, logits[0].dtype == torch.float64
    options = _options(spec, wide)
    counts = [x.numel() for x in logits]
    out = torch.empty((), dtype=dtype, device=device)
    with _on_device(device):
        loops_log2, programs = _share(counts, options["BLOCK_LOG2"])
        total = sum(programs)
        if total <= _SINGLE:
            arguments = _arguments((logits,), counts, spec, key, 0)
            sum_kernel[(1,)](out, None, None, *arguments, 0, 0, total, SINGLE=True, **options)
            return out
        partials = out.new_empty(total, dtype=torch.float64 if wide else torch.float32)
        counter = _counter(device, once=len(counts) <= MAX_TENSORS)
        before = 0
        # More than MAX_TENSORS tensors take several launches, but one buffer and one count.
        for at in range(0, len(counts), MAX_TENSORS):
            grid = sum(programs[at : at + MAX_TENSORS])
            arguments = _arguments((logits,), counts, spec, key, at)
            sum_kernel[(grid,)](
                out, partials, counter, *arguments, loops_log2, before, total,
                SINGLE=False, **options,
            )  # fmt: skip
            before += grid
    return out


def _map(
    logits: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    grad: Tensor | None,
    outputs: Sequence[Tensor | None],
    spec: LossSpec,
    key: Key | None,
    slope: bool,
) -> None:
    counts = [0 if x is None else x.numel() for x in logits]
    some = next((j for j, count in enumerate(counts) if count), None)
    if some is None:
        return
    # What is absent or empty borrows another's addresses, with a count of 0: every combination of
    # gradients that are needed runs the same compiled kernel.
    tensors = tuple(
        [items[j] if count else items[some] for j, count in enumerate(counts)]
        for items in (logits, grads, outputs)
    )
    first = logits[some]
    assert first is not None
    options = _options(spec, first.dtype == torch.float64)
    with _on_device(first.device):
        for at in range(0, len(counts), MAX_TENSORS):
            grid = sum(_programs(counts[at : at + MAX_TENSORS], options["BLOCK_LOG2"]))
            map_kernel[(grid,)](
                grad, *_arguments(tensors, counts, spec, key, at),
                SLOPE=slope, EACH=grad is None, **options,
            )  # fmt: skip


def _arguments(
    tensors: tuple[Sequence[Tensor | None], ...],
    counts: list[int],
    spec: LossSpec,
    key: Key | None,
    at: int,
) -> list[Tensor | int | None]:
    """What both kernels take, key_pointer to first_stream, of the tensors from number ``at`` on."""
    arguments: list[Tensor | int | None] = [key if isinstance(key, Tensor) else None]
    here = slice(at, at + MAX_TENSORS)
    rest = MAX_TENSORS - len(counts[here])
    for one_per_tensor in tensors:
        arguments += one_per_tensor[here]
        arguments += [None] * rest
    arguments += counts[here]
    arguments += [0] * rest
    arguments += map(_bits, spec.targets[here])
    arguments += [0] * rest
    arguments += _bits(spec.label_flip), _bits(spec.label_noise)
    # 64 bits, as a signed number: what a kernel's int64 argument holds.
    arguments.append((key + 2**63) % 2**64 - 2**63 if isinstance(key, int) else 0)
    arguments += spec.heads, at
    return arguments


@lru_cache(maxsize=1024)
def _bits(number: float) -> int:
    """The bits of ``number`` as a float64, in an int64."""
    return int(struct.unpack("q", struct.pack("d", number))[0])


def _options(spec: LossSpec, wide: bool) -> dict[str, Any]:
    """The constants that a kernel is compiled with."""
    return {
        "PHI": spec.phi.name,
        "NOISY": spec.noisy,
        "MEAN": spec.reduction == "mean",
        "WIDE": wide,
        "BLOCK_LOG2": _BLOCK_LOG2[wide],
        "num_warps": 4,
        # The error bounds assume it; said here, because Triton 3.10 changes the default.
        "enable_fp_fusion": True,
    }


def _share(counts: list[int], block_log2: int) -> tuple[int, list[int]]:
    """log2 of the blocks that each program of a sum adds, and the programs of each tensor."""
    loops_log2 = 0
    while sum(counts) >> (block_log2 + loops_log2) > _MAX_PROGRAMS:
        loops_log2 += 1
    return loops_log2, _programs(counts, block_log2 + loops_log2)


def _programs(counts: list[int], chunk_log2: int) -> list[int]:
    """Programs of each tensor, if each takes a chunk of it; an empty one has a program too."""
    return [max(1, -(-n >> chunk_log2)) for n in counts]


def _counter(device: torch.device, once: bool) -> Tensor:
    """A zero on ``device`` that no other running sum counts with.

    Kernels on one stream run one after another, so sums of one launch can share one. Others get
    a zero of their own: a count over several launches could be interrupted between them, and a
    CUDA graph may be replayed on any stream, beside anything; its zero is made anew at each replay.
    """
    if device.type != "cuda" or not once or torch.cuda.is_current_stream_capturing():
        return torch.zeros((), dtype=torch.int32, device=device)
    place = (device.index, torch.cuda.current_stream(device).cuda_stream)
    counter = _counters.get(place)
    if counter is None:
        counter = _counters[place] = torch.zeros((), dtype=torch.int32, device=device)
    return counter


def _contiguous(x: Tensor) -> Tensor:
    return x.resolve_neg().contiguous()


def _on_device(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device, on torch's current stream there."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
