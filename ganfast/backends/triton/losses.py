"""The losses: contiguous tensors, outputs, the shape of the grid, the launch.

Nothing here waits for the device or reads from it. What depends on the sizes alone is worked out
once and kept in the loss's memo: at a few thousand logits the host's time is all there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganfast._philox import Key
from ganfast.backends.triton.kernels.losses import (
    MAX_TENSORS,
    map_kernel,
    map_pair_kernel,
    sum_kernel,
    sum_pair_kernel,
)
from ganfast.backends.triton.launch import (
    BLOCK_LOG2,
    MAX_PROGRAMS,
    Bound,
    bind,
    bits,
    counter,
    key_argument,
    need_memory,
    on_device,
)
from ganfast.games import LossSpec

_SINGLE = 4
"""A sum of so few blocks is left to one program, which needs neither a buffer nor a counter."""

_PAIR = 2
_REMEMBERED = 256  # combinations of sizes for each loss


def adversarial_loss(
    logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None, dtype: torch.dtype
) -> Tensor | tuple[Tensor, ...]:
    """sum_j weight_j * sum_i phi(logits_j[i], target_j[i]), or each phi, as in the reference."""
    need_memory(logits)
    logits = tuple([_contiguous(x) for x in logits])
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
    gradients = tuple([None if x is None else torch.empty_like(x) for x in xs])
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


class _Launch(NamedTuple):
    """One launch of a plan: its kernel and what never changes of its arguments."""

    kernel: Bound
    grid: int
    here: slice  # which tensors
    absent: tuple[None, ...]  # in the place of those that are not there
    before: tuple[int, ...]  # the key
    after: tuple[int, ...]


def _sum(logits: tuple[Tensor, ...], spec: LossSpec, key: Key | None, dtype: torch.dtype) -> Tensor:
    first = logits[0]
    device, wide = first.device, first.dtype is torch.float64
    counts = [x.numel() for x in logits]
    out = first.new_empty((), dtype=dtype)
    memo = ("sum", wide, *counts)
    plan = spec.memo.get(memo)
    if plan is None:
        plan = _remember(spec, memo, _plan_of_sum(spec, counts, wide))
    pointer, number = (None, 0) if key is None else key_argument(key)
    with on_device(device):
        partials = arrivals = None
        if plan[0].grid != 1 or len(plan) > 1:
            total = plan[0].after[-1]
            partials = out.new_empty(total, dtype=torch.float64 if wide else torch.float32)
            # Several launches share one buffer and one count.
            arrivals = counter(device, once=len(plan) == 1)
        for kernel, grid, here, absent, before, after in plan:
            tensors = out, partials, arrivals, pointer, *logits[here], *absent
            kernel(device, grid, tensors, *before, number, *after)
    return out


def _plan_of_sum(spec: LossSpec, counts: list[int], wide: bool) -> list[_Launch]:
    loops_log2, programs = _share(counts, BLOCK_LOG2[wide])
    total = sum(programs)
    few = len(counts) <= _PAIR
    if total <= _SINGLE:
        kernel = bind(sum_pair_kernel if few else sum_kernel, SINGLE=True, **_options(spec, wide))
        return [_launch(kernel, 1, spec, counts, 0, few, (0, 0, total))]
    kernel = bind(sum_pair_kernel if few else sum_kernel, SINGLE=False, **_options(spec, wide))
    plan, first = [], 0
    for at in range(0, len(counts), MAX_TENSORS):
        grid = sum(programs[at : at + MAX_TENSORS])
        last = loops_log2, first, total
        plan.append(_launch(kernel, grid, spec, counts, at, few, last))
        first += grid
    return plan


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
    if not all(counts):
        some = next((j for j, count in enumerate(counts) if count), None)
        if some is None:
            return
        # What is absent or empty borrows another's addresses, with a count of 0: every combination
        # of gradients that are needed runs the same compiled kernel.
        logits, grads, outputs = (
            [items[j] if count else items[some] for j, count in enumerate(counts)]
            for items in (logits, grads, outputs)
        )
    first = logits[0]
    assert first is not None
    wide = first.dtype is torch.float64
    memo = ("map", wide, slope, grad is None, *counts)
    plan = spec.memo.get(memo)
    if plan is None:
        few = len(counts) <= _PAIR
        kernel = map_pair_kernel if few else map_kernel
        bound = bind(kernel, SLOPE=slope, EACH=grad is None, **_options(spec, wide))
        plan = [
            _launch(bound, sum(_programs(some_counts, BLOCK_LOG2[wide])), spec, counts, at, few, ())
            for at in range(0, len(counts), MAX_TENSORS)
            for some_counts in [counts[at : at + MAX_TENSORS]]
        ]
        _remember(spec, memo, plan)
    pointer, number = (None, 0) if key is None else key_argument(key)
    with on_device(first.device):
        for kernel, grid, here, absent, before, after in plan:
            tensors = (
                grad, pointer, *logits[here], *absent, *grads[here], *absent, *outputs[here],
                *absent,
            )  # fmt: skip
            kernel(first.device, grid, tensors, *before, number, *after)


def _remember(spec: LossSpec, key: tuple[Any, ...], plan: list[_Launch]) -> list[_Launch]:
    if len(spec.memo) >= _REMEMBERED:
        spec.memo.clear()
    spec.memo[key] = plan
    return plan


def _launch(
    kernel: Bound, grid: int, spec: LossSpec, counts: list[int], at: int, few: bool,
    last: tuple[int, ...],
) -> _Launch:  # fmt: skip
    """That of the tensors from number ``at`` on; ``last`` are the kernel's last numbers."""
    here = slice(at, at + MAX_TENSORS)
    rest = (_PAIR if few else MAX_TENSORS) - len(counts[here])
    padding = (0,) * rest
    targets = map(bits, spec.targets[here])
    rates = bits(spec.label_flip), bits(spec.label_noise)
    before = *counts[here], *padding, *targets, *padding, *rates
    return _Launch(kernel, grid, here, (None,) * rest, before, (spec.heads, at, *last))


def _options(spec: LossSpec, wide: bool) -> dict[str, Any]:
    """The constants that both kinds of kernels have."""
    return {
        "PHI": spec.phi.name,
        "NOISY": spec.noisy,
        "MEAN": spec.reduction == "mean",
        "WIDE": wide,
        "BLOCK_LOG2": BLOCK_LOG2[wide],
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
    return x if x.is_contiguous() and not x.is_neg() else x.resolve_neg().contiguous()
