"""Feature matching: pairs of contiguous tensors by dtype, the shape of the grid, the launch.

Nothing here waits for the device or reads from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ganfast.backends.triton.kernels.features import distance_gradient_kernel, distance_kernel
from ganfast.backends.triton.kernels.losses import MAX_TENSORS
from ganfast.backends.triton.launch import (
    BLOCK_LOG2,
    OPTIONS,
    bits,
    counter,
    need_memory,
    on_device,
)
from ganfast.backends.triton.losses import _contiguous, _programs, _share
from ganfast.reference.features import DistanceSpec, result_dtype

Features = tuple[Tensor, ...]


def feature_distance(real: Features, fake: Features, spec: DistanceSpec) -> Tensor:
    """As in the reference."""
    need_memory((*real, *fake))
    dtype = result_dtype(fake)
    sums = [
        _sum(
            [_contiguous(fake[j]) for j in group],
            [_contiguous(real[j]) for j in group],
            [spec.weights[j] for j in group],
            spec.square,
        )
        for group in _by_dtype(fake, range(len(fake)))
    ]
    total = sums[0].to(dtype)
    for each in sums[1:]:
        total = total + each
    return total


def feature_distance_gradient(
    grad: Tensor, real: Features, fake: Features, spec: DistanceSpec, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """As in the reference."""
    need_memory((grad, *real, *fake))
    grad = grad.resolve_neg()
    gradients: list[Tensor | None] = [None] * len(fake)
    for group in _by_dtype(fake, [j for j, need in enumerate(needed) if need]):
        fakes = [_contiguous(fake[j]) for j in group]
        reals = [_contiguous(real[j]) for j in group]
        outs = [torch.empty_like(f) for f in fakes]
        weights, counts = [spec.weights[j] for j in group], [f.numel() for f in fakes]
        options = _options(spec.square, fakes[0].dtype)
        with on_device(grad.device):
            for at in range(0, len(group), MAX_TENSORS):
                grid = sum(_programs(counts[at : at + MAX_TENSORS], options["BLOCK_LOG2"]))
                arguments = _arguments((fakes, reals, outs), counts, weights, at)
                distance_gradient_kernel[(grid,)](grad, *arguments, **options)
        for j, out in zip(group, outs, strict=True):
            gradients[j] = out
    return tuple(gradients)


def _by_dtype(fake: Features, wanted: Sequence[int]) -> Iterator[list[int]]:
    """The numbers of the pairs of each dtype: a kernel's pointers have one."""
    for dtype in dict.fromkeys(fake[j].dtype for j in wanted):
        yield [j for j in wanted if fake[j].dtype == dtype]


def _sum(fakes: list[Tensor], reals: list[Tensor], weights: list[float], square: bool) -> Tensor:
    first = fakes[0]
    device, options = first.device, _options(square, first.dtype)
    counts = [f.numel() for f in fakes]
    out = torch.empty((), dtype=result_dtype((first,)), device=device)
    with on_device(device):
        loops_log2, programs = _share(counts, options["BLOCK_LOG2"])
        total = sum(programs)
        partials = out.new_empty(total)
        arrivals = counter(device, once=len(counts) <= MAX_TENSORS)
        before = 0
        # More than MAX_TENSORS pairs take several launches, but one buffer and one count.
        for at in range(0, len(counts), MAX_TENSORS):
            grid = sum(programs[at : at + MAX_TENSORS])
            arguments = _arguments((fakes, reals), counts, weights, at)
            distance_kernel[(grid,)](
                out, partials, arrivals, *arguments, loops_log2, before, total, **options
            )
            before += grid
    return out


def _arguments(
    tensors: tuple[list[Tensor], ...], counts: list[int], weights: list[float], at: int
) -> list[Any]:
    """What both kernels take of the pairs from number ``at`` on: pointers, counts, weights."""
    here = slice(at, at + MAX_TENSORS)
    rest = MAX_TENSORS - len(counts[here])
    arguments: list[Any] = []
    for one_per_pair in tensors:
        arguments += one_per_pair[here] + [None] * rest
    arguments += counts[here] + [0] * rest
    arguments += [*map(bits, weights[here])] + [0] * rest
    return arguments


def _options(square: bool, dtype: torch.dtype) -> dict[str, Any]:
    """The constants that a kernel is compiled with."""
    wide = dtype == torch.float64
    return {"SQUARE": square, "WIDE": wide, "BLOCK_LOG2": BLOCK_LOG2[wide], **OPTIONS}
