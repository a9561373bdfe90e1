"""Which steps are measured, in which layout and precision."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.steps.critic_step import WGAN_CLIP, WGAN_GP, CriticStep, shares_of
from benchmarks.steps.providers import STEPS
from ganfast.bench.case import COMPILED, GANFAST, Case, ErrorOf, Provider, multiplying

EAGER_CONTIGUOUS, EAGER = "eager, float32 contiguous", "eager"
TOLERANCE, HALF_TOLERANCE = 1e-3, 0.25
"""Of all weight gradients together, relative to their size. In bfloat16 the eager step is off by
0.06; a sign or a second order that is lost is 1 or 2."""


def make(
    game: str,
    kind: str,
    network: str,
    batch: int,
    *,
    channels_last: bool = False,
    half: bool = False,
) -> CriticStep:
    """The step of a provider of STEPS."""
    norm = game == WGAN_CLIP
    return STEPS[game, kind](network, batch, norm=norm, channels_last=channels_last, half=half)


def gradients(game: str, step: CriticStep) -> list[Tensor]:
    """The weight gradients at the start; with a penalty for fakes that make every point known."""
    return step.gradients(step.real if game == WGAN_GP else step.fake)


@cache
def exact_gradients(game: str, network: str, batch: int) -> list[Tensor]:
    """Those of the eager step in float64; one answer for all layouts."""
    step = make(game, "eager", network, batch)
    step.critic = step.critic.double()
    step.start = step.critic.state_dict()
    step.real, step.fake = step.real.double(), step.fake.double()
    return gradients(game, step)


def whole_step(
    game: str,
    network: str,
    batch: int,
    *,
    channels_last: bool = False,
    half: bool = False,
    rounds: int = 5,
) -> Case:
    """One step of the critic; ``rounds``: for the table of shares."""
    options = ("bfloat16 autocast" if half else "float32") + ", channels_last" * channels_last
    layout = {"channels_last": channels_last, "half": half}

    def provider(kind: str, **layout: bool) -> Provider:
        tolerance = HALF_TOLERANCE if layout.get("half") else TOLERANCE
        step = partial(make, game, kind, network, batch, **layout)
        return Provider(step, tolerance, optional=kind == "compiled")

    providers = {EAGER_CONTIGUOUS: provider("eager")}
    if channels_last or half:
        providers[EAGER] = provider("eager", **layout)
    if not half:
        providers[COMPILED] = provider("compiled", **layout)
    providers[GANFAST] = provider("ganfast", **layout)

    def error_of() -> ErrorOf:
        exact = exact_gradients(game, network, batch)

        def error(_: str, step: CriticStep) -> float:
            pairs = zip(gradients(game, step), exact, strict=True)
            off = sum(float((found - right).square().sum()) for found, right in pairs)
            return (off / sum(float(right.square().sum()) for right in exact)) ** 0.5

        return error

    def shares(steps: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return shares_of({name: x for name, x in steps.items() if name != COMPILED}, rounds)

    return Case(
        name=f"{game} {network} {options}".lower().replace(",", "").replace(" ", "-"),
        section=f"{game}, {network}, batch {batch}",
        label=options,
        inputs=lambda device, seed: (),
        providers=providers,
        error_of=error_of,
        limit=partial(multiplying, 1024, torch.float32, flops(game, network, batch)),
        seconds=2.0 if network == networks.MLP else 5.0,
        after=shares,
    )


@cache
def flops(game: str, network: str, batch: int) -> float:
    """Real and fake: forward, and a backward of two products for each one forward: 3 each.

    The penalty: forward, the gradient with respect to its points, and the two derivatives of that
    gradient's products: 4. Forward itself has no second derivative where activations are straight.
    """
    return flops_forward(network, batch) * (10.0 if game == WGAN_GP else 6.0)


def flops_forward(network: str, batch: int) -> float:
    """Twice the multiply-adds of all convolutions and linear layers for one batch."""
    total = 0.0

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        weight: Any = layer.weight
        total += 2.0 * out.numel() * weight[0].numel()

    critic = networks.critic(network)
    for layer in critic.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    critic(networks.samples(network, batch)[0])
    return total
