"""mean (||gradient|| - 1)^2 and its derivative, for a gradient that is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.contest import Contest, Entry, largest
from benchmarks.limit import copying
from benchmarks.names import COMPILED, GANFAST
from benchmarks.ours import op
from benchmarks.penalty.images import Images

NORM, SQUARES = "eager flatten, norm", "eager root of squares"
TOLERANCE = 1e-5


def norm(gradient: Tensor) -> Tensor:
    return (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()


def squares(gradient: Tensor) -> Tensor:
    return (gradient.square().sum((1, 2, 3)).sqrt() - 1).square().mean()


def step(penalty: Any, gradient: Tensor) -> Any:
    def run() -> tuple[Tensor, Tensor]:
        gradient.grad = None
        value = penalty(gradient)
        value.backward()
        assert gradient.grad is not None
        return value, gradient.grad

    return run


@dataclass(frozen=True)
class FromGradient:
    images: Images

    @property
    def name(self) -> str:
        return f"penalty-{self.images.name}"

    def contest(self) -> Contest:
        size = self.images.size // self.images.shape[0]
        gradient = (2 * self.images.make(1) / size**0.5).requires_grad_()  # norms around 2
        exact = step(norm, gradient.detach().double().requires_grad_())()

        def error(_: str, found: tuple[Tensor, Tensor]) -> float:
            return max(largest(f, e.detach()) for f, e in zip(found, exact, strict=True))

        def entry(penalty: Any, *, optional: bool = False) -> Entry:
            return Entry(lambda: step(penalty(), gradient), TOLERANCE, optional=optional)

        return Contest(
            section="Penalty of a gradient, forward and backward",
            label=self.images.label,
            entries={
                NORM: entry(lambda: norm),
                SQUARES: entry(lambda: squares),
                COMPILED: entry(
                    lambda: torch.compile(norm, dynamic=False, fullgraph=True), optional=True
                ),
                GANFAST: entry(lambda: op("functional.penalty_from_gradient")),
            },
            error=error,
            yard=copying(8 * self.images.size),
            cost=12.0 * self.images.size,  # read forward; read and written backward
        )
