"""What follows a backward pass: one update of all weights, with gradients that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

import ganfast.functional as GF
from ganfast import optim
from ganfast.bench.case import GANFAST, Case, ErrorOf, Provider, normal, updating
from ganfast.bench.timing import Step

BOUND = 0.01
RMSPROP, ADAM, ADAM_CLIP, CLIP = "RMSprop + clip", "Adam", "Adam + clip", "clip alone"
BYTES = {RMSPROP: (12, 20), ADAM: (16, 28), ADAM_CLIP: (16, 28), CLIP: (4, 8)}
"""Per weight, those touched and those moved: weight and moments are read and written, the gradient
is read."""

LOOP, FOREACH, FUSED = "torch, for-loop", "torch, foreach", "torch, fused"
RATE, ADAM_RATE = 5e-5, 1e-3
"""The latter is high, so that a change shows in a batch norm's weight of 1 in float32."""
BETAS = (0.0, 0.9)

Weights = list[Tensor]
Change = Callable[[], Any]


def clamp_each(weights: Weights) -> Change:
    @torch.no_grad()
    def run() -> None:
        for weight in weights:
            weight.clamp_(-BOUND, BOUND)

    return run


def clamp_together(weights: Weights) -> Change:
    @torch.no_grad()
    def run() -> None:
        torch._foreach_clamp_min_(weights, -BOUND)
        torch._foreach_clamp_max_(weights, BOUND)

    return run


def _rmsprop(weights: Weights, clip: Callable[[Weights], Change], foreach: bool) -> Change:
    optimizer, clamp = torch.optim.RMSprop(weights, lr=RATE, foreach=foreach), clip(weights)

    def run() -> None:
        optimizer.step()
        clamp()

    return run


def _adam(weights: Weights, **how: bool) -> Change:
    return torch.optim.Adam(weights, lr=ADAM_RATE, betas=BETAS, **how).step


def _adam_clip(weights: Weights, clip: Callable[[Weights], Change], **how: bool) -> Change:
    step, clamp = _adam(weights, **how), clip(weights)

    def run() -> None:
        step()
        clamp()

    return run


WAYS: dict[str, dict[str, Callable[[Weights], Change]]] = {
    RMSPROP: {
        LOOP: partial(_rmsprop, clip=clamp_each, foreach=False),
        FOREACH: partial(_rmsprop, clip=clamp_together, foreach=True),
        GANFAST: lambda weights: optim.RMSprop(weights, lr=RATE, weight_clip=BOUND).step,
    },
    ADAM: {
        LOOP: partial(_adam, foreach=False),
        FOREACH: partial(_adam, foreach=True),
        FUSED: partial(_adam, fused=True),
        GANFAST: lambda weights: optim.Adam(weights, lr=ADAM_RATE, betas=BETAS).step,
    },
    ADAM_CLIP: {
        LOOP: partial(_adam_clip, clip=clamp_each, foreach=False),
        FOREACH: partial(_adam_clip, clip=clamp_together, foreach=True),
        FUSED: partial(_adam_clip, clip=clamp_together, fused=True),
        GANFAST: lambda weights: (
            optim.Adam(weights, lr=ADAM_RATE, betas=BETAS, weight_clip=BOUND).step
        ),
    },
    CLIP: {
        LOOP: clamp_each,
        FOREACH: clamp_together,
        GANFAST: lambda weights: partial(GF.clip_weights_, weights, BOUND),
    },
}
"""Every provider's update; the first is the one that the truth is computed by."""


def with_gradients(weights: Sequence[Tensor], device: torch.device | str, seed: int) -> Weights:
    """New leaves with the values of ``weights`` and fixed gradients."""
    leaves = [weight.detach().to(device, copy=True).requires_grad_() for weight in weights]
    for index, leaf in enumerate(leaves):
        leaf.grad = normal(*leaf.shape, seed=1000 * seed + index, device=device)
    return leaves


def _copied(weights: Weights, dtype: torch.dtype) -> Weights:
    copies = [weight.detach().to(dtype, copy=True).requires_grad_() for weight in weights]
    for copy, weight in zip(copies, weights, strict=True):
        copy.grad = None if weight.grad is None else weight.grad.to(dtype, copy=True)
    return copies


def _exact(update: str, weights: Weights) -> Iterator[Weights]:
    """The weights in float64 after each update."""
    wide = _copied(weights, torch.float64)
    change = next(iter(WAYS[update].values()))(wide)
    while True:
        change()
        yield [weight.detach().clone() for weight in wide]


def _error_of(update: str, weights: Weights) -> ErrorOf:
    exact = {name: _exact(update, weights) for name in WAYS[update]}
    start = [weight.detach().double() for weight in weights]

    def error(name: str, found: Weights) -> float:
        """The largest error of a weight, relative to the largest change of one so far."""
        right = next(exact[name])  # called once for each call of the step
        pairs = zip(found, right, strict=True)
        off = max(float((f.detach().double() - r).abs().max()) for f, r in pairs)
        return off / max(float((s - r).abs().max()) for s, r in zip(start, right, strict=True))

    return error


def update(kind: str, network: str, weights: Callable[[], Sequence[Tensor]]) -> Case:
    """One update of ``weights()``, by RMSPROP, ADAM, ADAM_CLIP or CLIP."""
    made = [weight.shape for weight in weights()]
    count = sum(shape.numel() for shape in made)
    touched, moved = BYTES[kind]

    def made_by(way: Callable[[Weights], Change]) -> Callable[..., Step]:
        def make(*given: Tensor) -> Step:
            mine = _copied(list(given), torch.float32)  # each provider changes its own
            change = way(mine)

            def run() -> Weights:
                change()
                return mine

            return run

        return make

    return Case(
        name=f"{kind} {network}".replace("+ ", "").lower().replace(" ", "-"),
        section=kind,
        label=f"{network}, {count:,} weights in {len(made)} tensors",
        inputs=lambda device, seed: tuple(with_gradients(weights(), device, seed)),
        # A float32 weight has that much of a change of 5e-5.
        providers={name: Provider(made_by(way), 1e-3) for name, way in WAYS[kind].items()},
        error_of=lambda *given: _error_of(kind, list(given)),
        limit=partial(updating, touched * count, float(moved * count)),
        setting_up=count / 2.5e7,
    )
