"""What changes over time, as pure functions of the step: to resume, a run needs no more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganfast.train.recipe import Recipe

AVERAGE_OVER = 200  # steps, or the last quarter of a run shorter than 800
WARM_UP_STEPS = 100


def critic_steps(step: int, recipe: Recipe) -> int:
    """Critic steps before the generator step ``step``, which counts from 0.

    ``n_critic``; ``pretraining`` more before the first; with ``warm_up`` the 100 of Arjovsky et
    al. (arXiv:1701.07875, the authors' code) in the first 25 generator steps and in every 500th.
    """
    warm = recipe.warm_up and (step < 25 or step % 500 == 0)
    return (WARM_UP_STEPS if warm else recipe.n_critic) + (recipe.pretraining if step == 0 else 0)


def is_due(count: int, every: int) -> bool:
    """Whether what is done every ``every`` times is done after ``count`` of them; 0 is never."""
    return every > 0 and count % every == 0


def learning_rate(step: int, recipe: Recipe, steps: int) -> float:
    """Of generator step ``step`` of ``steps``: the recipe's, or with ``decay`` "cosine" half a
    cosine from it down to 0 (arXiv:1608.03983)."""
    if recipe.decay == "none":
        return recipe.lr
    return recipe.lr * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2


def grow(step: int, phase: int, stages: int) -> tuple[int, float]:
    """Of networks that grow in ``stages``, the stage of generator step ``step``, and alpha, the
    share of its own picture beside the stage before's (arXiv:1710.10196): ``phase`` steps at the
    first stage, as many in which the next one fades in, as many at that one, and so on."""
    number, within = divmod(step, phase)
    stage = (number + 1) // 2
    if stage >= stages:
        return stages - 1, 1.0
    return stage, (within + 1) / (phase + 1) if number % 2 else 1.0


def average_over(steps_done: int) -> int:
    """Over how many of the last generator steps the average generator is a running mean."""
    return min(AVERAGE_OVER, 1 + steps_done // 4)
