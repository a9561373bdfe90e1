"""The steps of both players as CUDA graphs: one launch in place of hundreds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ganfast.captured import CapturedStep, capture
from ganfast.errors import InputError

if TYPE_CHECKING:
    from ganfast.train.loop import Trainer
    from ganfast.train.recipe import Penalty

Step = Callable[..., dict[str, Tensor]]
Captured = tuple[CapturedStep, list[str]]
"""A step, and what the values that it returns are called in the log."""


class Graphs:
    """The steps of ``trainer``, of the critic one for each set of penalties that can be due.
    Batches are drawn outside, from the same random numbers as without graphs; what is drawn inside
    continues the same stream.

    Raises:
        InputError: what the trainer does cannot be captured.
    """

    def __init__(self, trainer: Trainer) -> None:
        for name, got, refused in (
            ("device", trainer.device, torch.device(trainer.device).type != "cuda"),
            ("skip_nan", True, trainer.guard is not None),
            ("processes", trainer.processes.count, trainer.processes.count > 1),
            ("size", trainer.size, bool(trainer.size)),
        ):
            if refused:
                raise InputError(f"capture: got True with {name} {got}; leave capture out")
        self._trainer = trainer
        self.forget()

    def forget(self) -> None:
        """Capture anew: the optimizers' state lies elsewhere."""
        self._captured: dict[object, Captured] = {}

    def prepare(self) -> None:
        """Capture what is not there yet, so that what cannot be captured is told before training:
        lazy penalties are due in critic step 0, and alike not in step 1."""
        if self._captured:
            return
        trainer = self._trainer
        before = trainer.random.get_state()
        real, noise = trainer.real(), trainer.noise()
        trainer.random.set_state(before)
        self._critic(trainer.due(0), real, noise)
        self._critic(trainer.due(1), real, noise)
        self._generator(noise, *[real] * trainer.recipe.compares)

    def teach_critic(
        self, penalties: tuple[Penalty, ...], real: Tensor, noise: Tensor
    ) -> dict[str, Tensor]:
        """``Trainer.teach_critic``."""
        return replayed(self._critic(penalties, real, noise), real, noise)

    def teach_generator(self, *inputs: Tensor) -> dict[str, Tensor]:
        """``Trainer.teach_generator``."""
        return replayed(self._generator(*inputs), *inputs)

    def _critic(self, penalties: tuple[Penalty, ...], *inputs: Tensor) -> Captured:
        def critic_step(real: Tensor, noise: Tensor) -> dict[str, Tensor]:
            # A penalty's backward pass gives the batch a gradient: that of this step alone.
            return self._trainer.teach_critic(penalties, real.detach(), noise)

        return self._of(penalties, critic_step, *inputs)

    def _generator(self, *inputs: Tensor) -> Captured:
        def generator_step(*inputs: Tensor) -> dict[str, Tensor]:
            return self._trainer.teach_generator(*inputs)

        return self._of("generator", generator_step, *inputs)

    def _of(self, key: object, step: Step, *inputs: Tensor) -> Captured:
        if key not in self._captured:
            self._captured[key] = self._capture(step, *inputs)
        return self._captured[key]

    def _capture(self, step: Step, *inputs: Tensor) -> Captured:
        trainer, names = self._trainer, list[str]()

        @functools.wraps(step)
        def stacked(*inputs: Tensor) -> Tensor:
            logged = step(*inputs)
            names[:] = logged
            return torch.stack([value.detach().float() for value in logged.values()])

        changed = (trainer.generator, trainer.critic)
        optimizers = (trainer.generator_optimizer, trainer.critic_optimizer)
        before = trainer.random.get_state()
        try:
            captured = capture(
                stacked, *inputs, restore=(*changed, *optimizers), generators=(trainer.random,)
            )
        finally:
            trainer.random.set_state(before)
        return captured, names


def replayed(step: Captured, *inputs: Tensor) -> dict[str, Tensor]:
    """What ``step`` has to log; a copy, since the next replay writes over it."""
    captured, names = step
    return dict(zip(names, captured(*inputs).clone(), strict=True))
