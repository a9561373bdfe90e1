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
    logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None, dtype: torch.dtype
) -> Tensor | tuple[Tensor, ...]:
    """sum_j weight_j * sum_i phi(logits_j[i], target_j[i]), or each phi, as in the reference."""
    need_memory(logits)
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
    need_memory(grad_outputs)
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
    with on_device(device):
        loops_log2, programs = _share(counts, options["BLOCK_LOG2"])
        total = sum(programs)
        if total <= _SINGLE:
            arguments = _arguments((logits,), counts, spec, key, 0)
            sum_kernel[(1,)](out, None, None, *arguments, 0, 0, total, SINGLE=True, **options)
            return out
        partials = out.new_empty(total, dtype=torch.float64 if wide else torch.float32)
        arrivals = counter(device, once=len(counts) <= MAX_TENSORS)
        before = 0
        # More than MAX_TENSORS tensors take several launches, but one buffer and one count.
        for at in range(0, len(counts), MAX_TENSORS):
            grid = sum(programs[at : at + MAX_TENSORS])
            arguments = _arguments((logits,), counts, spec, key, at)
            sum_kernel[(grid,)](
                out, partials, arrivals, *arguments, loops_log2, before, total,
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
    with on_device(first.device):
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
    pointer, number = key_argument(key)
    arguments: list[Tensor | int | None] = [pointer]
    here = slice(at, at + MAX_TENSORS)
    rest = MAX_TENSORS - len(counts[here])
    for one_per_tensor in tensors:
        arguments += one_per_tensor[here]
        arguments += [None] * rest
    arguments += counts[here]
    arguments += [0] * rest
    arguments += map(bits, spec.targets[here])
    arguments += [0] * rest
    arguments += bits(spec.label_flip), bits(spec.label_noise)
    arguments += number, spec.heads, at
    return arguments


def _options(spec: LossSpec, wide: bool) -> dict[str, Any]:
    """The constants that a kernel is compiled with."""
    return {
        "PHI": spec.phi.name,
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
