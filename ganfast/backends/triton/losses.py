"""The losses: contiguous tensors, outputs, the shape of the grid, the launch.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganfast._philox import Key
from ganfast.backends.triton.kernels.losses import MAX_TENSORS, map_kernel, sum_kernel
from ganfast.backends.triton.launch import (
    BLOCK_LOG2,
    MAX_PROGRAMS,
    OPTIONS,
    bits,
    counter,
    key_argument,
    need_memory,
    on_device,
)
from ganfast.games import LossSpec

_SINGLE = 4
"""A sum of so few blocks is left to one program, which needs neither a buffer nor a counter."""


def adversarial_loss(
    logits: tuple[Tensor, ...],
    spec: LossSpec,
    key: Key | None,
    dtype: torch.dtype,
    statistics: Tensor | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """sum_j weight_j * sum_i phi(logits_j[i], target_j[i]), or each phi, as in the reference."""
    need_memory(logits)
    logits = tuple(_contiguous(x) for x in logits)
    if spec.reduction == "none":
        values = tuple(torch.empty_like(x, dtype=dtype) for x in logits[: len(spec.targets)])
        _map(logits, (None,) * len(values), None, values, spec, key, slope=False)
        return values
    return _sum(logits, spec, key, dtype, statistics)


def adversarial_loss_gradient(
    grad_outputs: Sequence[Tensor],
    logits: Sequence[Tensor],
    spec: LossSpec,
    key: Key | None,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """weight_j * phi'(logits_j, target_j) * grad_output where needed, as in the reference."""
    need_memory(grad_outputs)
    if spec.paired:  # of a pair both gradients are made, whichever is needed
        either = [a or b for a, b in zip(needed[: spec.heads], needed[spec.heads :], strict=True)]
        wanted: Sequence[bool] = either * 2
    else:
        wanted = needed
    # Everything keeps its position, which is the stream that a tensor's noise is drawn from.
    xs = [_contiguous(x) if want else None for x, want in zip(logits, wanted, strict=True)]
    gradients = tuple(None if x is None else torch.empty_like(x) for x in xs)
    targets = len(spec.targets)
    if spec.reduction == "none":
        grads = [
            None if x is None or x.numel() == 0 else _contiguous(g)
            for x, g in zip(xs[:targets], grad_outputs, strict=True)
        ]
        _map(xs, grads, None, gradients, spec, key, slope=True)
    else:
        grad = grad_outputs[0].resolve_neg()
        _map(xs, (None,) * targets, grad, gradients, spec, key, slope=True)
    if spec.paired:
        return tuple(x if need else None for x, need in zip(gradients, needed, strict=True))
    return gradients


def _sum(
    logits: tuple[Tensor, ...],
    spec: LossSpec,
    key: Key | None,
    dtype: torch.dtype,
    statistics: Tensor | None,
) -> Tensor:
    device, wide = logits[0].device, logits[0].dtype == torch.float64
    options = _options(spec, wide)
    counts = [x.numel() for x in logits[: len(spec.targets)]]
    out = torch.empty((), dtype=dtype, device=device)
    with on_device(device):
        loops_log2, programs = _share(counts, options["BLOCK_LOG2"])
        total = sum(programs)
        # With the statistics of pairs in float64, one program has too few registers for it all.
        crowded = spec.paired and wide and statistics is not None
        if total <= _SINGLE and not crowded:
            arguments = _arguments((logits,), counts, spec, key, 0)
            sum_kernel[(1,)](
                out, None, None, statistics, *arguments, 0, 0, total, SINGLE=True, **options
            )
            return out
        rows = 1 if statistics is None else 5
        partials = out.new_empty(rows * total, dtype=torch.float64 if wide else torch.float32)
        places = _places(spec)
        arrivals = counter(device, once=len(counts) <= places)
        before = 0
        # More than MAX_TENSORS tensors take several launches, but one buffer and one count.
        for at in range(0, len(counts), places):
            grid = sum(programs[at : at + places])
            arguments = _arguments((logits,), counts, spec, key, at)
            sum_kernel[(grid,)](
                out, partials, arrivals, statistics, *arguments, loops_log2, before, total,
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
    counts = [0 if x is None else x.numel() for x in logits[: len(spec.targets)]]
    some = next((j for j, count in enumerate(counts) if count), None)
    if some is None:
        return
    # What is absent or empty borrows another's addresses, with a count of 0: every combination of
    # gradients that are needed runs the same compiled kernel.
    count_of = [*counts, *counts]
    shift = len(counts)
    tensors = tuple(
        [x if count_of[j] else items[some + j // shift * shift] for j, x in enumerate(items)]
        for items in (logits, grads, outputs)
    )
    first = logits[some]
    assert first is not None
    options = _options(spec, first.dtype == torch.float64)
    with on_device(first.device):
        places = _places(spec)
        for at in range(0, len(counts), places):
            grid = sum(_programs(counts[at : at + places], options["BLOCK_LOG2"]))
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
    pointer, number = key_argument(key)
    arguments: list[Tensor | int | None] = [pointer]
    places = _places(spec)
    here = slice(at, at + places)
    rest = places - len(counts[here])
    for items in tensors:
        for first in range(0, MAX_TENSORS, places):  # of pairs what is subtracted comes then
            half = items[len(counts) :] if first else items[: len(counts)]
            arguments += half[here] or [None] * len(counts[here])
            arguments += [None] * rest
    rest = MAX_TENSORS - len(counts[here])
    arguments += counts[here]
    arguments += [0] * rest
    arguments += map(bits, spec.targets[here])
    arguments += [0] * rest
    arguments += bits(spec.label_flip), bits(spec.label_noise)
    arguments += number, spec.heads, at
    return arguments


def _places(spec: LossSpec) -> int:
    """How many tensors, or pairs of them, a launch takes."""
    return MAX_TENSORS // 2 if spec.paired else MAX_TENSORS


def _options(spec: LossSpec, wide: bool) -> dict[str, Any]:
    """The constants that a kernel is compiled with."""
    return {
        "PHI": spec.phi.name,
        "PAIRED": spec.paired,
        "NOISY": spec.noisy,
        "MEAN": spec.reduction == "mean",
        "WIDE": wide,
        "BLOCK_LOG2": BLOCK_LOG2[wide],
        **OPTIONS,
    }


def _share(counts: list[int], block_log2: int) -> tuple[int, list[int]]:
    """log2 of the blocks that each program of a sum adds, and the programs of each tensor."""
    loops_log2 = 0
    while sum(counts) >> (block_log2 + loops_log2) > MAX_PROGRAMS:
        loops_log2 += 1
    return loops_log2, _programs(counts, block_log2 + loops_log2)


def _programs(counts: list[int], chunk_log2: int) -> list[int]:
    """Programs of each tensor, if each takes a chunk of it; an empty one has a program too."""
    return [max(1, -(-n >> chunk_log2)) for n in counts]


def _contiguous(x: Tensor) -> Tensor:
    return x.resolve_neg().contiguous()
