"""What the arguments of a loss mean: checked once and remembered."""

from __future__ import annotations

from typing import Any

import torch

from ganfast import _checks, games
from ganfast.errors import InputError
from ganfast.games import FAKE, REAL, REDUCTIONS, LossSpec, Reduction

SPECS: dict[tuple[Any, ...], LossSpec] = {}
"""Specs that passed the checks, by the arguments that made them: the checks outlast the kernel."""


def _remember(arguments: tuple[Any, ...], spec: LossSpec) -> LossSpec:
    if not torch.compiler.is_compiling():
        if len(SPECS) >= 1024:  # a value that changes at each step must not keep the others out
            SPECS.clear()
        SPECS[arguments] = spec
    return spec


def discriminator_spec(
    side: str,
    game: str,
    heads: int,
    reduction: Reduction,
    smoothing: float,
    noise: float,
    flip: float,
    statistics: bool = False,
) -> LossSpec:
    row = games.find(game)
    _checks.one_of("reduction", reduction, REDUCTIONS)
    smoothing = _checks.number("label_smoothing", smoothing, least=0, below=1)
    noise = _checks.number("label_noise", noise, least=0)
    flip = _checks.number("label_flip", flip, least=0, most=1)
    rates = {"label_smoothing": smoothing, "label_noise": noise, "label_flip": flip}
    for name, rate in rates.items():
        if rate and not row.soft_labels:
            soft = ", ".join(name for name, game in games.GAMES.items() if game.soft_labels)
            raise InputError(
                f"{name}: got {rate}, but {row.name} has no labels to soften; "
                f"leave it at 0 or play one of {soft}"
            )
    if statistics and reduction == "none":
        raise InputError(
            "return_statistics: got True with reduction='none', which sums nothing; give 'mean' or "
            "'sum'"
        )
    of_side = {"real": (REAL - smoothing,), "fake": (FAKE,), "D": (REAL - smoothing, FAKE)}[side]
    if row.compares == "pairs":
        of_side = (REAL,)
    spec = LossSpec(
        games.PHIS[row.discriminator],
        tuple(target for target in of_side for _ in range(heads)),
        heads,
        reduction,
        flip,
        noise,
        row.compares,
        statistics,
    )
    arguments = side, game, heads, reduction, smoothing, noise, flip
    return _remember((*arguments, True) if statistics else arguments, spec)


def generator_spec(side: str, game: str, heads: int, reduction: Reduction) -> LossSpec:
    row = games.find(game)
    if row.compares:  # the same with the sides swapped
        spec = discriminator_spec("D", game, heads, reduction, 0.0, 0.0, 0.0)
        return _remember((side, game, heads, reduction), spec)
    _checks.one_of("reduction", reduction, REDUCTIONS)
    target = (row.generator_target,) * heads
    spec = LossSpec(games.PHIS[row.generator], target, heads, reduction)
    return _remember((side, game, heads, reduction), spec)
