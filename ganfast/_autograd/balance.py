"""Several losses on one output: their gradients there, once each, and one backward for their sum.

Everything is plain torch; no backend is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganfast._autograd.closed_form import once_only


def gradients_at(
    losses: Sequence[Tensor], tensors: Sequence[Tensor], scale: Tensor | None
) -> list[tuple[Tensor | None, ...]]:
    """d (scale * loss) / d tensors of each loss, whose graphs are freed on the way.

    A graph is kept only until the last loss that shares nodes with it: what torch.compile made can
    be run backward once, and memory that no other loss needs goes at once.
    """
    graphs = [_nodes(loss, tensors) for loss in losses]
    found: list[tuple[Tensor | None, ...]] = []
    for index, loss in enumerate(losses):
        shared = any(graphs[index] & later for later in graphs[index + 1 :])
        seed = None if scale is None else scale.to(loss.dtype).expand(loss.shape)
        found.append(
            torch.autograd.grad(loss, tensors, seed, retain_graph=shared, allow_unused=True)
        )
    return found


def _nodes(loss: Tensor, until: Sequence[Tensor]) -> set[Any]:
    """The nodes of the graph between ``loss`` and the tensors ``until``."""
    ends = {x.grad_fn for x in until}
    todo = [loss.grad_fn]
    seen: set[Any] = set()
    while todo:
        node = todo.pop()
        # AccumulateGrad nodes hold nothing that is freed.
        if node is None or node in seen or node in ends or node.name().endswith("AccumulateGrad"):
            continue
        seen.add(node)
        todo += [following for following, _ in node.next_functions]
    return seen


def joined(value: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """``value``, whose gradient with respect to each of ``tensors`` is the given one."""
    result: Tensor = _Joined.apply(value, tuple(gradients), *tensors)
    return result


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: tuple[Tensor, ...], *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients, *tensors)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        saved = ctx.saved_tensors
        gradients, tensors = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        sent = []
        for g, x in zip(gradients, tensors, strict=True):
            scaled = (grad.to(g.dtype) * g).to(x.dtype)
            # Their own derivative went with the losses' graphs; it must not pass for zero.
            sent.append(once_only(_ONCE, scaled, x) if torch.is_grad_enabled() else scaled)
        return None, None, *sent


_ONCE = (
    "the balanced loss can be differentiated once, since the graphs of its losses are gone; add "
    "them up with the weight that it gave to differentiate them twice"
)
