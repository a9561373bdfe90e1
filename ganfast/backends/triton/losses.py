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
from ganfast.backends.triton.kept import Kept
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
    logits: tuple[Tensor, ...],
    spec: LossSpec,
    key: Key | None,
    dtype: torch.dtype,
    statistics: Tensor | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """sum_j weight_j * sum_i phi(logits_j[i], target_j[i]), or each phi, as in the reference."""
    kept = None
    if key is None and statistics is None and spec.reduction != "none":
        kept = spec.memo.get(dtype) or _remember(spec, dtype, Kept())
        if kept.launches:
            out = logits[0].new_empty((), dtype=dtype)
            if kept.run((out, *logits)):
                return out
    need_memory(logits)
    logits = tuple([_contiguous(x) for x in logits])
    if spec.reduction == "none":
        values = tuple(torch.empty_like(x, dtype=dtype) for x in logits[: len(spec.targets)])
        _map(logits, (None,) * len(values), None, values, spec, key, slope=False)
        return values
    return _sum(logits, spec, key, dtype, statistics, kept)


def adversarial_loss_gradient(
    grad_outputs: Sequence[Tensor],
    logits: Sequence[Tensor],
    spec: LossSpec,
    key: Key | None,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """weight_j * phi'(logits_j, target_j) * grad_output where needed, as in the reference."""
    kept = None
    if key is None and spec.reduction != "none" and False not in needed:
        kept = spec.memo.get("gradients") or _remember(spec, "gradients", Kept())
    if kept is not None and kept.launches:
        found = tuple([torch.empty_like(x) for x in logits])
        if kept.run((*grad_outputs, *logits, *found)):
            return found
    need_memory(grad_outputs)
    wanted = needed
    if spec.paired:  # of a pair both gradients are made, whichever is needed
        sides = needed[: spec.heads], needed[spec.heads :]
        wanted = [one or other for one, other in zip(*sides, strict=True)] * 2
    # Everything keeps its position, which is the stream that a tensor's noise is drawn from.
    xs = [_contiguous(x) if want else None for x, want in zip(logits, wanted, strict=True)]
    gradients = tuple([None if x is None else torch.empty_like(x) for x in xs])
    targets = len(spec.targets)
    if spec.reduction == "none":
        grads = [
            None if x is None or x.numel() == 0 else _contiguous(g)
            for x, g in zip(xs[:targets], grad_outputs, strict=True)
        ]
        _map(xs, grads, None, gradients, spec, key, slope=True)
    else:
        grad = grad_outputs[0].resolve_neg()
        _map(xs, (None,) * targets, grad, gradients, spec, key, slope=True, kept=kept)
    if spec.paired:
        return tuple([x if need else None for x, need in zip(gradients, needed, strict=True)])
    return gradients


class _Launch(NamedTuple):
    """One launch of a plan: its kernel and what never changes of its arguments."""

    kernel: Bound
    grid: int
    here: slice  # which tensors
    absent: tuple[None, ...]  # in the place of those that are not there
    before: tuple[int, ...]  # the key
    after: tuple[int, ...]


def _sum(
    logits: Sequence[Tensor | None],
    spec: LossSpec,
    key: Key | None,
    dtype: torch.dtype,
    statistics: Tensor | None,
    kept: Kept | None,
) -> Tensor:
    first = logits[0]
    assert first is not None
    device, wide = first.device, first.dtype is torch.float64
    counts = _counts(logits, spec)
    out = first.new_empty((), dtype=dtype)
    memo = ("sum", wide, *counts)
    plan = spec.memo.get(memo)
    if plan is None:
        plan = _remember(spec, memo, _plan_of_sum(spec, counts, wide))
    given = (out, *logits) if kept is not None and kept.open else None
    if spec.paired:
        logits = _spread(logits, len(counts))
    pointer, number = (None, 0) if key is None else key_argument(key)
    with on_device(device):
        partials = arrivals = None
        if plan[0].grid != 1 or len(plan) > 1 or _crowded(spec, wide):
            total = plan[0].after[-1] * (1 if statistics is None else 5)
            partials = out.new_empty(total, dtype=torch.float64 if wide else torch.float32)
            # Several launches share one buffer and one count.
            arrivals = counter(device, once=len(plan) == 1)
        for kernel, grid, here, absent, before, after in plan:
            tensors = out, partials, arrivals, statistics, pointer, *logits[here], *absent
            done = kernel(device, grid, tensors, *before, number, *after)
            if given is not None and kept is not None and done and partials is None:
                kept.add(done, kernel, grid, tensors, (*before, number, *after), given)
    return out


def _plan_of_sum(spec: LossSpec, counts: list[int], wide: bool) -> list[_Launch]:
    loops_log2, programs = _share(counts, BLOCK_LOG2[wide])
    total = sum(programs)
    few = _places(spec, counts) < MAX_TENSORS
    if total <= _SINGLE and not _crowded(spec, wide):
        kernel = bind(sum_pair_kernel if few else sum_kernel, SINGLE=True, **_options(spec, wide))
        return [_launch(kernel, 1, spec, counts, 0, few, (0, 0, total))]
    kernel = bind(sum_pair_kernel if few else sum_kernel, SINGLE=False, **_options(spec, wide))
    plan, first = [], 0
    step = MAX_TENSORS // 2 if spec.paired else MAX_TENSORS
    for at in range(0, len(counts), step):
        grid = sum(programs[at : at + step])
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
    kept: Kept | None = None,
) -> None:
    counts = _counts(logits, spec)
    if not all(counts):
        some = next((j for j, count in enumerate(counts) if count), None)
        if some is None:
            return
        # What is absent or empty borrows another's addresses, with a count of 0: every combination
        # of gradients that are needed runs the same compiled kernel.
        many = len(counts)
        logits, grads, outputs = (
            [x if counts[j % many] else items[some + j // many * many] for j, x in enumerate(items)]
            for items in (logits, grads, outputs)
        )
    first = logits[0]
    assert first is not None
    wide = first.dtype is torch.float64
    memo = ("map", wide, slope, grad is None, *counts)
    plan = spec.memo.get(memo)
    if plan is None:
        few = _places(spec, counts) < MAX_TENSORS
        kernel = map_pair_kernel if few else map_kernel
        bound = bind(kernel, SLOPE=slope, EACH=grad is None, **_options(spec, wide))
        step = MAX_TENSORS // 2 if spec.paired else MAX_TENSORS
        plan = [
            _launch(bound, sum(_programs(some_counts, BLOCK_LOG2[wide])), spec, counts, at, few, ())
            for at in range(0, len(counts), step)
            for some_counts in [counts[at : at + step]]
        ]
        _remember(spec, memo, plan)
    given = (grad, *logits, *outputs) if kept is not None and kept.open else None
    if spec.paired:
        logits, grads, outputs = (_spread(items, len(counts)) for items in (logits, grads, outputs))
    pointer, number = (None, 0) if key is None else key_argument(key)
    with on_device(first.device):
        for kernel, grid, here, absent, before, after in plan:
            tensors = (
                grad, pointer, *logits[here], *absent, *grads[here], *absent, *outputs[here],
                *absent,
            )  # fmt: skip
            done = kernel(first.device, grid, tensors, *before, number, *after)
            if given is not None and kept is not None and done and len(plan) == 1:
                kept.add(done, kernel, grid, tensors, (*before, number, *after), given)


def _remember(spec: LossSpec, key: Any, plan: Any) -> Any:
    if len(spec.memo) >= _REMEMBERED:
        spec.memo.clear()
    spec.memo[key] = plan
    return plan


def _launch(
    kernel: Bound, grid: int, spec: LossSpec, counts: list[int], at: int, few: bool,
    last: tuple[int, ...],
) -> _Launch:  # fmt: skip
    """That of the tensors from number ``at`` on; ``last`` are the kernel's last numbers."""
    places = _PAIR if few else MAX_TENSORS
    here = slice(at, at + (places // 2 if spec.paired else places))
    rest = places - len(counts[here])
    padding = (0,) * rest
    targets = map(bits, spec.targets[here])
    rates = bits(spec.label_flip), bits(spec.label_noise)
    before = *counts[here], *padding, *targets, *padding, *rates
    absent = (None,) * rest
    if spec.paired:  # _spread() has filled them up
        here, absent = slice(2 * at, 2 * at + places), ()
    return _Launch(kernel, grid, here, absent, before, (spec.heads, at, *last))


def _counts(logits: Sequence[Tensor | None], spec: LossSpec) -> list[int]:
    """The elements of each tensor, or of each pair of tensors."""
    firsts = logits[: spec.heads] if spec.paired else logits
    return [0 if x is None else x.numel() for x in firsts]


def _places(spec: LossSpec, counts: list[int]) -> int:
    """How many places for tensors the kernel has."""
    return _PAIR if len(counts) * (1 + spec.paired) <= _PAIR else MAX_TENSORS


def _spread(items: Sequence[Tensor | None], pairs: int) -> list[Tensor | None]:
    """What comes first in the pairs of a launch and then, half of its places on, the others."""
    half = 1 if pairs == 1 else MAX_TENSORS // 2
    spread: list[Tensor | None] = []
    for at in range(0, pairs, half):
        for side in (items[:pairs], items[pairs:]):
            some = side[at : at + half]
            spread += [*some, *[None] * (half - len(some))]
    return spread


def _crowded(spec: LossSpec, wide: bool) -> bool:
    """Whether one program has too few registers to do the work of all."""
    return spec.paired and spec.statistics and wide


def _options(spec: LossSpec, wide: bool) -> dict[str, Any]:
    """The constants that both kinds of kernels have."""
    return {
        "PHI": spec.phi.name,
        "PAIRED": spec.paired,
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
