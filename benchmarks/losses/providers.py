"""The steps that compete: each computes one loss of the same logits and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import ganfast.functional as GF
from benchmarks.losses import forms
from benchmarks.losses.cases import Case
from benchmarks.names import COMPILED, GANFAST

Step = Callable[[], Tensor]


class Logits:
    """Leaf logits of one case, and the label tensors that some eager forms take."""

    def __init__(self, case: Case, device: str = "cpu", seed: int = 0) -> None:
        generator = torch.Generator(device).manual_seed(seed)

        def side() -> list[Tensor]:
            return [
                torch.randn(shape, device=device, generator=generator).requires_grad_()
                for shape in case.heads
            ]

        self.real = side() if case.sides == 2 else []
        self.fake = side()
        self.ones = [torch.ones_like(x, requires_grad=False) for x in self.fake]
        self.zeros = [torch.zeros_like(x, requires_grad=False) for x in self.fake]

    @property
    def leaves(self) -> list[Tensor]:
        return self.real + self.fake

    @property
    def sides(self) -> list[list[Tensor]]:
        return [self.real, self.fake] if self.real else [self.fake]


def over_heads(form: Callable[..., Tensor], *lists: list[Tensor]) -> Tensor:
    """The mean over heads of each head's loss, as one writes it by hand."""
    total = None
    for tensors in zip(*lists, strict=True):
        loss = form(*tensors)
        total = loss if total is None else total + loss
    return total / len(lists[0])


def bind(form: Callable[..., Tensor], logits: Logits) -> Callable[[], Tensor]:
    """``form`` of one head as the loss of all of ``logits``; a single head pays for no loop."""
    lists = [*logits.sides, logits.ones, logits.zeros]
    if len(logits.fake) == 1:
        return partial(form, *(tensors[0] for tensors in lists))
    return partial(over_heads, form, *lists)


def ganfast_loss(case: Case, logits: Logits) -> Callable[[], Tensor]:
    sides = [side[0] if len(side) == 1 else side for side in logits.sides]
    call = GF.discriminator_loss if case.player == "discriminator" else GF.generator_loss
    return partial(call, *sides, game=case.game)


def compiled_loss(form: Callable[..., Tensor], logits: Logits) -> Callable[[], Tensor]:
    """The eager form through Inductor, for these shapes alone: the best that it can do."""
    bound = bind(form, logits)
    fast: Any = torch.compile(bound.func, dynamic=False, fullgraph=True)
    return partial(fast, *bound.args)


def step(loss: Callable[[], Tensor], leaves: list[Tensor]) -> Step:
    """Forward and backward as a training step has them: gradients are new each time."""

    def run() -> Tensor:
        for x in leaves:
            x.grad = None
        value = loss()
        value.backward()
        return value

    return run


def names(case: Case) -> list[str]:
    """The providers of a case, ganfast last: by then the others are warm."""
    found = forms.of(case.player, case.phi, case.target)
    return [*(form.name for form in found), COMPILED, GANFAST]


def eager(case: Case, logits: Logits) -> dict[str, Step]:
    """Every eager form of the case by its name."""
    found = forms.of(case.player, case.phi, case.target)
    return {form.name: step(bind(form.loss, logits), logits.leaves) for form in found}


def form_named(case: Case, name: str) -> forms.Form:
    return next(f for f in forms.of(case.player, case.phi, case.target) if f.name == name)
