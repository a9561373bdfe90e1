"""The losses, forward and backward, against what a user would write instead.

The eager forms are functions of the logits of one head, ``(real, fake, ones, zeros)`` for a
discriminator and ``(fake, ones, zeros)`` for a generator. ``ones`` and ``zeros`` are the label
tensors that ``F.binary_cross_entropy_with_logits`` and ``F.mse_loss`` insist on; they are made
once, outside of what is timed, although most code makes them at every step.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import ganfast.functional as GF
from ganfast import games
from ganfast.bench.case import (
    COMPILED,
    GANFAST,
    Case,
    ErrorOf,
    Limit,
    Provider,
    copying,
    largest,
    normal,
)
from ganfast.bench.timing import Step, interleave, stopwatch
from ganfast.reference.losses import PHI

Shape = tuple[int, ...]
Loss = Callable[..., Tensor]

bce = F.binary_cross_entropy_with_logits


def cross_entropy(real: Tensor, fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def cross_entropy_bce(real: Tensor, fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return bce(real, ones) + bce(fake, zeros)


def linear(real: Tensor, fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return fake.mean() - real.mean()


def hinge(real: Tensor, fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def half_square(real: Tensor, fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def half_square_mse(real: Tensor, fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return 0.5 * (F.mse_loss(real, ones) + F.mse_loss(fake, zeros))


def nonsaturating(fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return F.softplus(-fake).mean()


def nonsaturating_bce(fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return bce(fake, ones)


def minimax(fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return -F.softplus(fake).mean()


def minimax_bce(fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return -bce(fake, zeros)


def negative_exponential(fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return -fake.exp().mean()


def linear_generator(fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return -fake.mean()


def half_square_generator(fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return 0.5 * (fake - 1).square().mean()


def half_square_mse_generator(fake: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(fake, ones)


TEXTBOOK: dict[tuple[str, str, float], dict[str, Loss]] = {
    ("discriminator", "cross_entropy", games.REAL): {
        "eager softplus": cross_entropy, "eager BCE-with-logits": cross_entropy_bce
    },
    ("discriminator", "linear", games.REAL): {"eager": linear},
    ("discriminator", "hinge", games.REAL): {"eager": hinge},
    ("discriminator", "half_square", games.REAL): {
        "eager square": half_square, "eager mse_loss": half_square_mse
    },
    ("generator", "cross_entropy", games.REAL): {
        "eager softplus": nonsaturating, "eager BCE-with-logits": nonsaturating_bce
    },
    ("generator", "negative_cross_entropy", games.FAKE): {
        "eager softplus": minimax, "eager BCE-with-logits": minimax_bce
    },
    ("generator", "negative_exponential", games.REAL): {"eager": negative_exponential},
    ("generator", "linear", games.REAL): {"eager": linear_generator},
    ("generator", "half_square", games.REAL): {
        "eager square": half_square_generator, "eager mse_loss": half_square_mse_generator
    },
}  # fmt: skip
"""What people write by hand, by player, phi (a name of games.PHIS) and the player's target."""


def kind(player: str, game: str) -> tuple[str, str, float]:
    """What the loss of ``player`` in ``game`` is, whatever other games have the same: (player, phi,
    target)."""
    row = games.GAMES[game]
    if player == "discriminator":
        return player, row.discriminator, games.REAL
    return player, row.generator, row.generator_target


def forms(player: str, game: str) -> dict[str, Loss]:
    """The eager forms of a loss; without one that people write, the one of the reference."""
    _, name, target = of = kind(player, game)
    if of in TEXTBOOK:
        return TEXTBOOK[of]
    phi = PHI[name][0]
    if player == "generator":
        return {"eager": lambda fake, ones, zeros: phi(fake, target).mean()}
    return {"eager": lambda real, fake, ones, zeros: phi(real, 1.0).mean() + phi(fake, 0.0).mean()}


def code(form: Loss) -> str:
    """The expression, read from the source, so that what is printed is what was measured."""
    if form.__name__ == "<lambda>":
        return "phi of ganfast.reference"
    return inspect.getsource(form).split("return ", 1)[1].strip()


class Logits(NamedTuple):
    """Leaf logits for every head, and the label tensors that some eager forms take."""

    sides: list[list[Tensor]]
    """The real ones, where the player sees them, and the fake ones."""
    ones: list[Tensor]
    zeros: list[Tensor]

    @property
    def leaves(self) -> list[Tensor]:
        return [x for side in self.sides for x in side]

    def double(self) -> Logits:
        sides = [[x.detach().double().requires_grad_() for x in side] for side in self.sides]
        return Logits(sides, [x.double() for x in self.ones], [x.double() for x in self.zeros])


def draw(
    sides: int, heads: Sequence[Shape], dtype: torch.dtype, device: torch.device, seed: int
) -> Logits:
    """Standard normal logits."""
    seeds = itertools.count(seed * sides * len(heads))
    drawn = [
        [normal(*shape, seed=next(seeds), device=device).to(dtype) for shape in heads]
        for _ in range(sides)
    ]
    ones, zeros = [torch.ones_like(x) for x in drawn[0]], [torch.zeros_like(x) for x in drawn[0]]
    return Logits([[x.requires_grad_() for x in side] for side in drawn], ones, zeros)


def bind(form: Loss, logits: Logits) -> partial[Tensor]:
    """``form`` of one head as the loss of all heads; a single head pays for no loop."""
    lists = [*logits.sides, logits.ones, logits.zeros]
    if len(logits.ones) == 1:
        return partial(form, *(tensors[0] for tensors in lists))
    return partial(_over_heads, form, *lists)


def _over_heads(form: Loss, *lists: list[Tensor]) -> Tensor:
    """The mean over heads of each head's loss, as one writes it by hand."""
    losses = [form(*tensors) for tensors in zip(*lists, strict=True)]
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total / len(losses)


def step(loss: Callable[[], Any], leaves: Sequence[Tensor]) -> Step:
    """Forward and backward as a training step has them: gradients are new each time."""

    def run() -> Tensor:
        for x in leaves:
            x.grad = None
        value: Tensor = loss()
        value.backward()
        return value

    return run


def error_of(form: Loss, logits: Logits) -> ErrorOf:
    """The largest error of value and gradients, each relative to its scale; the truth is ``form``
    in float64."""
    wide = logits.double()
    exact = step(bind(form, wide), wide.leaves)().detach()
    gradients = [x.grad for x in wide.leaves if x.grad is not None]
    # A difference of two means is nearly 0, so an error relative to the value would say nothing.
    # The loss moves by about this much when the logits move by about 1, which is how large they
    # are.
    scale = max(abs(float(exact)), sum(float(x.abs().sum()) for x in gradients))

    def error(_: str, value: Tensor) -> float:
        errors = [abs(float(value.detach().double() - exact)) / scale]
        for x, right in zip(logits.leaves, gradients, strict=True):
            errors.append(math.inf if x.grad is None else largest(x.grad, right))
        return max(errors, key=lambda each: math.inf if math.isnan(each) else each)

    return error


class Compiled:
    """The fastest of the eager forms through Inductor, for these shapes alone."""

    def __init__(self, eager: dict[str, Loss]) -> None:
        self.eager = eager
        self.form = ""
        self._loss: Any = None

    def make(self, logits: Logits) -> Step:
        if self._loss is None:
            self._choose(logits)
        arguments = bind(self.eager[self.form], logits).args
        return step(partial(self._loss, *arguments), logits.leaves)

    def _choose(self, logits: Logits) -> None:
        bound = {name: bind(form, logits) for name, form in self.eager.items()}
        steps = {name: [step(loss, logits.leaves)] for name, loss in bound.items()}
        watch = stopwatch(logits.ones[0].device)
        rounds = interleave(
            steps, baseline=next(iter(steps)), seconds=0.1, least_rounds=3, watch=watch
        )
        self.form = min(steps, key=rounds.median)
        self._loss = torch.compile(bound[self.form].func, dynamic=False, fullgraph=True)


def loss(
    player: str,
    game: str,
    heads: Sequence[Shape],
    *,
    dtype: torch.dtype = torch.float32,
    seconds: float = 2.0,
) -> Case:
    """One player's mean loss in one game, on logits of the given shapes, one for each head."""
    sides = 2 if player == "discriminator" else 1
    size = sum(math.prod(shape) for shape in heads)
    eager = forms(player, game)
    fast = Compiled(eager)
    # float32 sums of 16 million terms are good to 1e-7; a wrong sign or weight is off by 1e-1.
    half = dtype.itemsize < 4
    rivals, own = (0.1, 4 * torch.finfo(dtype).eps) if half else (1e-5, 1e-5)

    def eager_step(form: Loss) -> Callable[[Logits], Step]:
        return lambda logits: step(bind(form, logits), logits.leaves)

    def ganfast_step(logits: Logits) -> Step:
        given: list[Any] = [side[0] if len(side) == 1 else side for side in logits.sides]
        call: Any = GF.discriminator_loss if sides == 2 else GF.generator_loss
        return step(partial(call, *given, game=game), logits.leaves)

    def limit(device: torch.device) -> Limit:
        # Read forward; read and written backward. The gradient of a linear loss reads nothing.
        passes = 2 if kind(player, game)[1] == "linear" else 3
        side = sides * size * dtype.itemsize
        return copying(2 * side, passes * side, device)

    short = str(dtype).removeprefix("torch.")
    many = len(heads) > 1
    return Case(
        name=f"{player}-{game}-{f'{len(heads)}-heads' if many else size}-{short}",
        section=f"{player.capitalize()}, {game}, {short}",
        label=f"{size:,} logits{' a side' * (sides == 2)}{f' in {len(heads)} heads' * many}",
        inputs=lambda device, seed: (draw(sides, heads, dtype, device, seed),),
        providers={
            **{
                name: Provider(eager_step(form), rivals, code=code(form))
                for name, form in eager.items()
            },
            COMPILED: Provider(fast.make, rivals, optional=True),
            GANFAST: Provider(ganfast_step, own),
        },
        error_of=partial(error_of, next(iter(eager.values()))),
        limit=limit,
        seconds=seconds,
        graphs=True,
        after=lambda steps: {"compiled": {COMPILED: fast.form}} if COMPILED in steps else {},
    )
