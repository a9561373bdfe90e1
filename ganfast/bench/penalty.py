"""The two ops of a gradient penalty that are not the critic's: points between real and fake
samples, and mean (||g_i|| - 1)^2 of a gradient that is there, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import ganfast.functional as GF
from ganfast.bench.case import (
    COMPILED,
    GANFAST,
    Case,
    ErrorOf,
    Provider,
    calling,
    compiled,
    copying,
    largest,
    normal,
)
from ganfast.bench.losses import step
from ganfast.bench.timing import Step

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TOLERANCE = 1e-5


def images(shape: tuple[int, ...], layout: str, seed: int, device: torch.device | str) -> Tensor:
    x = normal(*shape, seed=seed, device=device)
    return x.contiguous(memory_format=LAYOUTS[layout])


def weighted(real: Tensor, fake: Tensor) -> Tensor:
    eps = torch.rand(len(real), 1, 1, 1, device=real.device)
    return eps * real + (1 - eps) * fake


def lerp(real: Tensor, fake: Tensor) -> Tensor:
    return fake.lerp(real, torch.rand(len(real), 1, 1, 1, device=real.device))


def distance_from_line(found: Tensor, real: Tensor, fake: Tensor) -> float:
    """How far a sample is from the line between its ends; infinite for an eps that is wrong.

    The eps of a sample is not known, since providers draw their own: it is the one that the sample
    fits best.
    """
    ahead = (real - fake).double().flatten(1)
    off = (found - fake).double().flatten(1)
    eps = (off * ahead).sum(1) / ahead.square().sum(1)
    if not (bool(((eps > -1e-6) & (eps < 1 + 1e-6)).all()) and float(eps.std()) > 0.1):
        return float("inf")
    return float((off - eps[:, None] * ahead).abs().max())


def interpolation(shape: tuple[int, ...], layout: str = "contiguous") -> Case:
    """One point between each real and each fake sample."""
    count = torch.Size(shape).numel()

    def error_of(real: Tensor, fake: Tensor) -> ErrorOf:
        return lambda _, found: distance_from_line(found, real, fake)

    return Case(
        name=f"interpolate-{'x'.join(map(str, shape))}-{layout}",
        section="Interpolation",
        label=f"{shape}, {layout}",
        inputs=lambda device, seed: tuple(
            images(shape, layout, 2 * seed + side, device) for side in (1, 2)
        ),
        providers={
            "eager eps*x + (1-eps)*y": Provider(calling(weighted), TOLERANCE),
            "eager lerp": Provider(calling(lerp), TOLERANCE),
            COMPILED: compiled(weighted, TOLERANCE),
            GANFAST: Provider(calling(GF.interpolate), TOLERANCE),
        },
        error_of=error_of,
        limit=partial(copying, 12 * count, 12.0 * count),  # two floats read, one written
    )


def norm(gradient: Tensor) -> Tensor:
    return (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()


def squares(gradient: Tensor) -> Tensor:
    return (gradient.square().sum((1, 2, 3)).sqrt() - 1).square().mean()


def forward(shape: tuple[int, ...], layout: str = "contiguous") -> Case:
    """The penalty of a gradient that is there, alone."""
    count = torch.Size(shape).numel()

    def inputs(device: torch.device, seed: int) -> tuple[Tensor]:
        return (2 * images(shape, layout, seed + 1, device) / (count // shape[0]) ** 0.5,)

    def error_of(gradient: Tensor) -> ErrorOf:
        exact = norm(gradient.double())
        return lambda _, found: largest(found, exact)

    return Case(
        name=f"penalty-forward-{'x'.join(map(str, shape))}-{layout}",
        section="Penalty of a gradient, forward",
        label=f"{shape}, {layout}",
        inputs=inputs,
        providers={
            "eager flatten, norm": Provider(calling(norm), TOLERANCE),
            "eager root of squares": Provider(calling(squares), TOLERANCE),
            COMPILED: compiled(norm, TOLERANCE),
            GANFAST: Provider(calling(GF.penalty_from_gradient), TOLERANCE),
        },
        error_of=error_of,
        limit=partial(copying, 8 * count, 4.0 * count),  # read
    )


def from_gradient(shape: tuple[int, ...], layout: str = "contiguous") -> Case:
    """The penalty of a gradient that is there, and its derivative."""
    count = torch.Size(shape).numel()

    def inputs(device: torch.device, seed: int) -> tuple[Tensor]:
        gradient = images(shape, layout, seed + 1, device)
        return ((2 * gradient / (count // shape[0]) ** 0.5).requires_grad_(),)  # norms around 2

    def forward_and_backward(penalty: Callable[..., Any]) -> Callable[[Tensor], Step]:
        return lambda gradient: step(partial(penalty, gradient), [gradient])

    def error_of(gradient: Tensor) -> ErrorOf:
        wide = gradient.detach().double().requires_grad_()
        value = step(partial(norm, wide), [wide])().detach()

        def error(_: str, found: Tensor) -> float:
            if gradient.grad is None or wide.grad is None:
                return float("inf")
            return max(largest(found, value), largest(gradient.grad, wide.grad))

        return error

    fast = compiled(norm, TOLERANCE)
    return Case(
        name=f"penalty-{'x'.join(map(str, shape))}-{layout}",
        section="Penalty of a gradient, forward and backward",
        label=f"{shape}, {layout}",
        inputs=inputs,
        providers={
            "eager flatten, norm": Provider(forward_and_backward(norm), TOLERANCE),
            "eager root of squares": Provider(forward_and_backward(squares), TOLERANCE),
            COMPILED: Provider(
                lambda gradient: step(fast.make(gradient), [gradient]), TOLERANCE, optional=True
            ),
            GANFAST: Provider(forward_and_backward(GF.penalty_from_gradient), TOLERANCE),
        },
        error_of=error_of,
        limit=partial(copying, 8 * count, 12.0 * count),  # read forward; read and written backward
    )


def second_order(shape: tuple[int, ...], layout: str = "contiguous") -> Case:
    """The derivative of the penalty's derivative along a direction, from the penalty itself on."""
    count = torch.Size(shape).numel()

    def inputs(device: torch.device, seed: int) -> tuple[Tensor, Tensor]:
        gradient, along = (images(shape, layout, 2 * seed + side, device) for side in (1, 2))
        return (2 * gradient / (count // shape[0]) ** 0.5).requires_grad_(), along

    def twice(penalty: Callable[..., Any]) -> Callable[[Tensor, Tensor], Step]:
        def run(gradient: Tensor, along: Tensor) -> Tensor:
            (first,) = torch.autograd.grad(penalty(gradient), gradient, create_graph=True)
            (second,) = torch.autograd.grad(first, gradient, along)
            return second

        return lambda gradient, along: partial(run, gradient, along)

    def error_of(gradient: Tensor, along: Tensor) -> ErrorOf:
        wide = gradient.detach().double().requires_grad_()
        exact = twice(norm)(wide, along.double())()
        return lambda _, found: largest(found, exact)

    return Case(
        name=f"penalty-second-order-{'x'.join(map(str, shape))}-{layout}",
        section="Penalty of a gradient, forward and backward twice",
        label=f"{shape}, {layout}",
        inputs=inputs,
        providers={
            "eager flatten, norm": Provider(twice(norm), TOLERANCE),
            "eager root of squares": Provider(twice(squares), TOLERANCE),
            GANFAST: Provider(twice(GF.penalty_from_gradient), TOLERANCE),
        },
        error_of=error_of,
        # Read; read and written; both of gradient and direction read, and one written.
        limit=partial(copying, 12 * count, 24.0 * count),
    )
