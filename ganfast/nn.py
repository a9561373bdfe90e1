"""Thin modules over functional: for code that builds its losses once and calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganfast import _checks, games
from ganfast.errors import InputError, InputTypeError
from ganfast.functional import losses
from ganfast.functional.critics import Critic
from ganfast.functional.gradient_penalty import AT, gradient_penalty
from ganfast.functional.inputs import Inputs
from ganfast.functional.logits import Logits
from ganfast.functional.loss_specs import discriminator_spec
from ganfast.functional.penalty import spec_of
from ganfast.functional.scores import Scores
from ganfast.games import Reduction


class GANLoss(torch.nn.Module):
    """One side of a game at a time, as image-translation codebases call it.

        criterion = ganfast.GANLoss("hinge")
        d_loss = criterion(D(real), True) + criterion(D(fake.detach()), False)
        g_loss = criterion(D(fake), True, for_discriminator=False)

    The same name is not the same loss everywhere: "lsgan" of CycleGAN, pix2pix and BasicSR is twice
    ours, VQGAN halves D's hinge, and other projects score fakes high. ``convention`` takes the name
    and gives the numbers of such a project, so that weights tuned there stay right:

        criterion = ganfast.GANLoss("lsgan", convention="pix2pix")

    docs/migration.md has them all, and what of a project is not in its loss, such as the 0.5 of
    pix2pix's ``backward_D``: that stays in your code.

    The relativistic games compare: ``other`` is the logits of the other side, and one call gives
    the whole loss of a player.

        criterion = ganfast.GANLoss("relativistic")
        d_loss = criterion(D(real), True, other=D(fake.detach()))
        g_loss = criterion(D(fake), True, for_discriminator=False, other=D(real))

    Args:
        game: a name or alias of :data:`ganfast.games.GAMES` or ``RELATIVISTIC``; with
            ``convention`` that project's name for it.
        convention: None (ours) or a project of :data:`ganfast.games.CONVENTIONS`: "pix2pix",
            "cyclegan", "basicsr", "studiogan", "vqgan", "wassersteingan", "lightweight-gan" or
            "stylegan2-pytorch".
        reduction: "mean", "sum" or "none".
        label_smoothing, label_noise, label_flip, generator: as for
            :func:`ganfast.functional.discriminator_loss`; the generator's loss ignores them.

    Raises:
        ValueError: as :func:`ganfast.functional.discriminator_loss`, at construction where it can
            be known.
    """

    def __init__(
        self,
        game: str = "nonsaturating",
        *,
        convention: str | None = None,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
        label_noise: float = 0.0,
        label_flip: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.game = game if convention else games.find(game).name
        self.convention = convention
        self._meaning = games.translate(game, convention)
        self.reduction = reduction
        self.labels = {
            "label_smoothing": label_smoothing,
            "label_noise": label_noise,
            "label_flip": label_flip,
        }
        self.generator = generator
        discriminator_spec(
            "D",
            self._meaning.discriminator,
            1,
            reduction,
            label_smoothing,
            label_noise,
            label_flip,
        )

    def forward(
        self,
        prediction: Logits,
        target_is_real: bool,
        for_discriminator: bool | None = None,
        *,
        is_disc: bool | None = None,
        other: Logits | None = None,
    ) -> Any:
        """The loss of one batch of logits.

        Args:
            prediction: logits of any shape, or a list or tuple of them (heads).
            target_is_real: whether the discriminator should call them real. It must be True for the
                generator's loss, since that is what the generator wants of its fakes.
            for_discriminator: False for the generator's loss. If None, the discriminator's; with
                convention="basicsr" the generator's, as there.
            is_disc: BasicSR's name of ``for_discriminator``.
            other: for a relativistic game, the logits of the other side: the fakes' for the
                discriminator's loss, the real samples' for the generator's.

        Returns:
            E[f_real], E[f_fake] or E[f_gen] of ``prediction``, or the player's whole loss in a
            relativistic game, with the factor of the convention:
            0-d, or unreduced with reduction="none".

        Raises:
            ValueError: target_is_real=False for the generator's loss or in a relativistic game;
                ``other`` missing there, or given elsewhere; as the functions.
            TypeError: a target that is neither True nor False, such as a soft label; both
                for_discriminator and is_disc.
        """
        if not isinstance(target_is_real, bool):
            raise InputTypeError(
                f"target_is_real: got {target_is_real!r}; give True or False, and a soft label as "
                "GANLoss(..., label_smoothing=0.1)"
            )
        meaning = self._meaning
        if meaning.discriminator in games.RELATIVISTIC:
            for_discriminator = self._is_for_discriminator(for_discriminator, is_disc)
            return self._relativistic(prediction, target_is_real, for_discriminator, other)
        if other is not None:
            raise InputError(
                f"other: got logits, but {self.game} looks at one side at a time; leave it out"
            )
        if meaning.fakes_high:
            prediction = _each(torch.neg, prediction)
        if not self._is_for_discriminator(for_discriminator, is_disc):
            if not target_is_real:
                raise InputError(
                    "target_is_real: got False for the generator's loss; give True, or "
                    "for_discriminator=True"
                )
            factor = meaning.generator_factor
            loss = losses.generator_loss(
                prediction, game=meaning.generator, reduction=self.reduction
            )
        else:
            factor = meaning.discriminator_factor
            loss = losses.one_sided_loss(
                prediction,
                target_is_real,
                game=meaning.discriminator,
                reduction=self.reduction,
                generator=self.generator,
                **self.labels,
            )
        return loss if factor == 1 else _each(lambda x: factor * x, loss)

    def _relativistic(
        self, prediction: Logits, target_is_real: bool, for_discriminator: bool, other: Any
    ) -> Any:
        if other is None:
            raise InputError(
                f"other: got None, but {self.game} compares both sides; give the other side's "
                "logits, other=D(fake)"
            )
        if not target_is_real:
            raise InputError(
                f"target_is_real: got False, but one call gives the whole loss of {self.game}; "
                "call it once, with the logits that should be the higher ones, True and the others "
                "as other="
            )
        if for_discriminator:
            return losses.discriminator_loss(
                prediction, other, game=self.game, reduction=self.reduction
            )
        return losses.generator_loss(
            prediction, real=other, game=self.game, reduction=self.reduction
        )

    def _is_for_discriminator(self, given: bool | None, is_disc: bool | None) -> bool:
        if is_disc is not None:
            if given is not None:
                raise InputTypeError("is_disc: got it and for_discriminator; give one of them")
            return _checks.flag("is_disc", is_disc)
        if given is None:
            return self.convention != "basicsr"
        return _checks.flag("for_discriminator", given)

    def extra_repr(self) -> str:
        labels = "".join(f", {name}={value}" for name, value in self.labels.items() if value)
        project = f", convention={self.convention!r}" if self.convention else ""
        return f"{self.game!r}{project}, reduction={self.reduction!r}{labels}"


def _each(function: Callable[[Tensor], Tensor], x: Any) -> Any:
    """``function`` of a tensor, or of each of several heads; the checks see anything else."""
    if isinstance(x, (list, tuple)):
        return type(x)(_each(function, head) for head in x)
    return function(x) if isinstance(x, Tensor) else x


class GradientPenalty(torch.nn.Module):
    """:func:`ganfast.functional.gradient_penalty` with its settings made once.

        penalty = ganfast.GradientPenalty(weight=10.0)
        loss = GF.discriminator_loss(critic(real), critic(fake.detach()), game="wgan")
        (loss + penalty(critic, real, fake)).backward()

    Args:
        weight, target, one_sided, at, group_size, generator, scores: as for the function.

    Raises:
        ValueError: at construction, for a setting that is out of its range.
    """

    def __init__(
        self,
        weight: float = 10.0,
        *,
        target: float = 1.0,
        one_sided: bool = False,
        at: str = "interpolated",
        group_size: int = 1,
        generator: torch.Generator | None = None,
        scores: Scores = None,
    ) -> None:
        super().__init__()
        _checks.one_of("at", at, AT)
        spec_of(target, one_sided, weight, group_size)
        self.settings: dict[str, Any] = {
            "weight": weight,
            "target": target,
            "one_sided": one_sided,
            "at": at,
            "group_size": group_size,
        }
        if scores is not None:
            self.settings["scores"] = scores
        self.generator = generator

    def forward(
        self, critic: Critic, real: Inputs | None, fake: Inputs | None, **critic_kwargs: Any
    ) -> Tensor:
        """The penalty, 0-d, of ``critic`` on one batch; the rest goes to the critic."""
        return gradient_penalty(
            critic,
            real,
            fake,
            generator=self.generator,
            critic_kwargs=critic_kwargs,
            **self.settings,
        )

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
