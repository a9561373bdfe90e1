"""The settings of a game and its networks, and the recipe that they make."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ganfast._options import option
from ganfast.train import recipe as table
from ganfast.train.recipe import CHAPTER, PENALTIES, PRESETS, Penalty, Recipe

OWN = "the game's own"
POINTS = ("ring", "grid")
PENALTY_CHOICES = ("none", *PENALTIES, "r1+r2")

OWN_VALUES = (
    "batch_size",
    "n_critic",
    "pretraining",
    "warm_up",
    "clip",
    "norm_g",
    "norm_d",
    "activation",
) + ("pooling", "input_range", "lr", "decay", "latent_dim", "grow_from", "grow_steps")
"""The settings that take the place of the recipe's field of the same name."""


@dataclass
class GameOptions:
    """What is played, by which networks, on what data."""

    game: str = option(
        "",
        "what the two networks play: {choices}",
        choices=CHAPTER,
        unset="nonsaturating; relativistic with the preset r3gan",
    )
    preset: str = option(
        "chapter",
        "whose settings the games have: {choices} (chapter: made for small data and minutes; "
        "paper: as published; r3gan: two penalties in place of every trick; points: for points in "
        "the plane, to find every mode); --show prints them",
        choices=PRESETS,
    )
    data: str = option(
        "digits",
        "what they learn: {choices} (the images in a folder, at any depth, or in an archive, of a "
        "pattern or in a .txt or .csv of paths; or those of a file in MNIST's format, .gz too)",
        choices=("digits", "mnist5k", "ring", "grid"),
        form="folder:PATH or idx:PATH",
        pattern="(folder|idx):.+",
    )
    steps: int = option(2000, "generator steps", least=1)
    batch_size: int | None = option(
        None, "samples per step, at least 2 (batch norm)", least=2, unset=OWN
    )
    n_critic: int | None = option(
        None,
        "critic steps before each generator step: a critic near its best gives the generator a "
        "better gradient in the Wasserstein games, and next to none in minimax",
        least=1,
        unset=OWN,
    )
    pretraining: int | None = option(
        None,
        "critic steps before the first generator step, so that the first gradients mean something",
        least=0,
        unset=OWN,
    )
    warm_up: bool | None = option(
        None,
        "100 critic steps before each of the first 25 generator steps and every 500th, as WGAN's "
        "authors have it",
        unset=OWN,
    )
    clip: float | None = option(None, "wgan only: bound of every critic weight", above=0, unset=OWN)
    penalty: str | None = option(
        None,
        "what keeps the critic smooth: {choices}; wgan-gp holds its slope near 1 between real and "
        "generated samples, r1 and r2 pull it to 0 at real and at generated ones, which cures "
        "collapse",
        choices=PENALTY_CHOICES,
        unset=OWN,
    )
    penalty_weight: float | None = option(
        None,
        "of the penalty: lambda of wgan-gp, gamma of r1 and r2",
        above=0,
        unset=OWN + "; for points 1 of wgan-gp and 0.1 of r1 and r2, in the preset points 0.02",
    )
    penalty_every: int | None = option(
        None,
        "take the penalty in every N-th critic step, N times as heavy: about as good and cheaper",
        least=1,
        unset="1",
    )
    label_smoothing: float = option(
        0.0,
        "games with labels only: the real target becomes 1 minus this, so that the critic is never "
        "rewarded for being certain; 0.1 is usual",
        least=0,
        below=1,
    )
    label_noise: float = option(
        0.0, "games with labels only: each target moves by up to this much", least=0, below=1
    )
    label_flip: float = option(
        0.0, "games with labels only: the share of labels that are swapped", least=0, below=1
    )
    norm_g: str | None = option(
        None,
        "normalization in the generator: {choices}; batch norm keeps it from putting all samples "
        "in one place",
        choices=table.NORMS,
        unset=OWN + "; none for points",
    )
    norm_d: str | None = option(
        None,
        "normalization in the critic: {choices}; never batch with a penalty, which is about each "
        "sample alone",
        choices=table.NORMS,
        unset=OWN + "; none for points or with a penalty",
    )
    activation: str | None = option(
        None,
        "between layers: {choices}; relu gives exact zeros, and a generator no gradient there",
        choices=table.ACTIVATIONS,
        unset="leaky_relu",
    )
    pooling: str | None = option(
        None,
        "how an image critic halves a picture: {choices}; max passes a gradient to one place in "
        "four",
        choices=table.POOLINGS,
        unset="strided",
    )
    input_range: str | None = option(
        None,
        "range of the images, by the generator's last layer: {choices} ([-1, 1] or [0, 1]); one "
        "around 0 suits the layers' start",
        choices=table.RANGES,
        unset="tanh",
    )
    lr: float | None = option(None, "learning rate of both networks", above=0, unset=OWN)
    decay: str | None = option(
        None,
        "of the learning rate: {choices} (to 0 at the last step: players that circle settle)",
        choices=table.DECAYS,
        unset=OWN,
    )
    latent_dim: int | None = option(
        None,
        "length of the noise vector; points in the plane want 2, with 16 most games lose modes",
        least=1,
        unset=OWN + "; 2 for points",
    )
    grow_from: int | None = option(
        None,
        "images only: begin with pictures of this side, a power of two from 4 up, and double it on "
        "the way: what is coarse is learned first, in cheap steps",
        least=4,
        unset="networks that don't grow",
    )
    grow_steps: int | None = option(
        None,
        "of networks that grow, steps at each side and of fading to the next",
        least=1,
        unset="200",
    )
    width: int = option(
        32, "channels of the networks' narrowest layer; an MLP has four times as many", least=1
    )
    image_size: int = option(
        32, "folder:PATH only: images become squares of this side, a power of two", least=8
    )
    on_error: str = option(
        "raise",
        "folder:PATH only: what to do with an image that can't be read: {choices} (then it is "
        "named at the end, and the exit code is 3)",
        choices=("raise", "skip"),
    )

    def recipe(self, *, points: bool | None = None) -> Recipe:
        """The game's recipe, with this run's own values in place of its defaults. ``points`` says
        whether the samples are points rather than images; None: as ``data`` has it."""
        points = self.data in POINTS if points is None else points
        recipe, penalties = self._row, self._penalties(points)
        changed: dict[str, Any] = {"penalties": penalties}
        if penalties and recipe.norm_d == "batch":
            changed["norm_d"] = "none"
        if points:
            changed |= {"norm_g": "none", "norm_d": "none", "latent_dim": 2}
        for name in OWN_VALUES:
            if getattr(self, name) is not None:
                changed[name] = getattr(self, name)
        changed |= {name: getattr(self, name) for name in recipe.labels}
        return dataclasses.replace(recipe, **changed)

    @property
    def _row(self) -> Recipe:
        return PRESETS[self.preset][self.game]

    def _penalties(self, points: bool) -> tuple[Penalty, ...]:
        """A preset's weights hold for what it was made for, points or images; else the usual."""
        rows = {row.kind: row for row in self._row.penalties}
        kinds = list(rows) if self.penalty is None else self.penalty.split("+")
        fits = points == (self.preset == "points")
        made = []
        for kind in kinds if kinds != ["none"] else []:
            usual = PENALTIES[kind].weight_on_points if points else PENALTIES[kind].weight
            row = rows.get(kind, Penalty(kind, usual))
            made.append(row if fits else dataclasses.replace(row, weight=usual))
        own: dict[str, Any] = {"weight": self.penalty_weight, "every": self.penalty_every}
        given = {name: value for name, value in own.items() if value is not None}
        return tuple(dataclasses.replace(row, **given) for row in made)
