"""Which losses are measured, on which logits, and for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ganfast import games

Shape = tuple[int, ...]

PATCHGAN: tuple[Shape, ...] = ((16, 1, 30, 30), (16, 1, 14, 14), (16, 1, 6, 6))
"""The heads of a discriminator that looks at three scales."""

PATCHGAN_NAME = "3 PatchGAN heads"

DISCRIMINATOR_SIZES = (64, 4096, 65_536, 1_000_000, 16_000_000)
GENERATOR_SIZES = (64, 65_536, 1_000_000)


@dataclass(frozen=True)
class Case:
    """One row of the table: a player's loss in one game, on logits of the given shapes."""

    player: str
    """"discriminator" or "generator"."""
    game: str
    heads: tuple[Shape, ...]
    """The shape of each head's logits; both sides of a discriminator's loss have the same."""

    @property
    def phi(self) -> str:
        """The family of scalar functions (a name of games.PHIS) that the player minimises."""
        row = games.GAMES[self.game]
        return row.discriminator if self.player == "discriminator" else row.generator

    @property
    def target(self) -> float:
        """What a generator wants its samples to be taken for."""
        return games.GAMES[self.game].generator_target

    @property
    def sides(self) -> int:
        return 2 if self.player == "discriminator" else 1

    @property
    def size(self) -> int:
        """Logits of one side, over all heads."""
        return sum(math.prod(shape) for shape in self.heads)

    @property
    def label(self) -> str:
        return f"{self.size:,}" if len(self.heads) == 1 else PATCHGAN_NAME

    @property
    def name(self) -> str:
        """The benchmark's group: the same word for word from run to run."""
        kind = str(self.size) if len(self.heads) == 1 else "patchgan"
        return f"{self.player}-{self.game}-{kind}"


def flat(player: str, game: str, size: int) -> Case:
    return Case(player, game, ((size,),))


def _games(player: str) -> list[str]:
    """The games whose player's loss is not also another game's: a kernel is measured once.

    Of the three games with one discriminator the one that people train stands for all; so it does
    for the generators of wasserstein and hinge.
    """
    kept: dict[tuple[str, float], str] = {}
    order = sorted(games.GAMES, key=lambda name: name not in ("nonsaturating", "wasserstein"))
    for game in order:
        one = flat(player, game, 1)
        kept.setdefault((one.phi, one.target if player == "generator" else 0.0), game)
    return [game for game in games.GAMES if game in kept.values()]


def full() -> list[Case]:
    """Everything that the committed table has."""
    found = []
    for game in _games("discriminator"):
        found += [flat("discriminator", game, size) for size in DISCRIMINATOR_SIZES]
        found.append(Case("discriminator", game, PATCHGAN))
    for game in _games("generator"):
        found += [flat("generator", game, size) for size in GENERATOR_SIZES]
    return found


def quick() -> list[Case]:
    """A smoke run: one case of each kind."""
    return [
        flat("discriminator", "nonsaturating", 64),
        flat("discriminator", "nonsaturating", 65_536),
        flat("discriminator", "least_squares", 4096),
        Case("discriminator", "nonsaturating", PATCHGAN),
        flat("generator", "minimax", 65_536),
    ]


def seconds(case: Case, is_quick: bool) -> float:
    """How long the interleaved rounds of one case may last.

    A round of 16 million logits takes most of a second, and its page faults vary; small sizes are
    over in a millisecond, so hundreds of rounds fit in two seconds.
    """
    if is_quick:
        return 0.4
    if case.size >= 4_000_000:
        return 8.0
    return 2.0 if case.player == "discriminator" else 1.5
