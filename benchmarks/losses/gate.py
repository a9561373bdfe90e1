"""The gate before the stopwatch: a provider that is wrong has no speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.losses import forms
from benchmarks.losses.cases import Case
from benchmarks.losses.providers import Logits, bind

TOLERANCE = 1e-5
"""float32 sums of 16 million terms are good to 1e-7; a wrong sign or weight is off by 1e-1."""


@dataclass(frozen=True)
class Oracle:
    """The first eager form in float64: value, gradients, and how large each is."""

    value: Tensor
    gradients: list[Tensor]
    scale: float


def oracle(case: Case, logits: Logits) -> Oracle:
    form = forms.of(case.player, case.phi, case.target)[0]
    wide = Logits.__new__(Logits)
    for name in ("real", "fake", "ones", "zeros"):
        tensors = getattr(logits, name)
        setattr(wide, name, [x.detach().double().requires_grad_(x.requires_grad) for x in tensors])
    value = bind(form.loss, wide)()
    value.backward()
    # A difference of two means is nearly 0, so an error relative to the value would say nothing.
    # The loss moves by about this much when the logits move by about 1, which is how large they
    # are.
    moved = sum(float(x.grad.abs().sum()) for x in wide.leaves)
    scale = max(abs(float(value.detach())), moved)
    return Oracle(value.detach(), [x.grad for x in wide.leaves], scale)


def errors(step: Callable[[], Tensor], leaves: list[Tensor], truth: Oracle) -> dict[str, float]:
    """Largest error of the value and of a gradient, relative to the scale of each."""
    value = abs(float(step().detach().double() - truth.value)) / truth.scale
    gradient = 0.0
    for x, exact in zip(leaves, truth.gradients, strict=True):
        if x.grad is None:
            return {"value": value, "gradient": float("inf")}
        off = float(torch.dist(x.grad.double(), exact, p=float("inf")))
        gradient = max(gradient, off / float(exact.abs().max()))
    return {"value": value, "gradient": gradient}


def passes(found: dict[str, float]) -> bool:
    """Whether both errors are small; NaN is not."""
    return all(error <= TOLERANCE for error in found.values())
