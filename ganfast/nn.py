"""Thin modules over functional: for code that builds its losses once and calls them."""

from __future__ import annotations

from typing import Any

import torch

from ganfast import games
from ganfast.functional import losses
from ganfast.functional.losses import Logits
from ganfast.games import Reduction


class GANLoss(torch.nn.Module):
    """One side of a game at a time, as image-translation codebases call it.

        criterion = ganfast.GANLoss("hinge")
        d_loss = criterion(D(real), True) + criterion(D(fake.detach()), False)
        g_loss = criterion(D(fake), True, for_discriminator=False)

    Args:
        game: a name or alias of :data:`ganfast.games.GAMES`.
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
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
        label_noise: float = 0.0,
        label_flip: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.game = games.find(game).name
        self.reduction = reduction
        self.labels = {
            "label_smoothing": label_smoothing,
            "label_noise": label_noise,
            "label_flip": label_flip,
        }
        self.generator = generator
        losses._discriminator_spec("D", self.game, 1, reduction, *self.labels.values())

    def forward(
        self, prediction: Logits, target_is_real: bool, for_discriminator: bool = True
    ) -> Any:
        """The loss of one batch of logits.

        Args:
            prediction: logits of any shape, or a list or tuple of them (heads).
            target_is_real: whether the discriminator should call them real. For the generator's
                loss
                this must be True: that is what it wants of its fakes.
            for_discriminator: False for the generator's loss.

        Returns:
            E[f_real], E[f_fake] or E[f_gen] of ``prediction``: 0-d, or unreduced with
            reduction="none".
        """
        if not for_discriminator:
            if not target_is_real:
                raise ValueError("target_is_real: got False for the generator, whose aim is True")
            return losses.generator_loss(prediction, game=self.game, reduction=self.reduction)
        return losses.one_sided_loss(
            prediction,
            bool(target_is_real),
            game=self.game,
            reduction=self.reduction,
            generator=self.generator,
            **self.labels,
        )

    def extra_repr(self) -> str:
        labels = "".join(f", {name}={value}" for name, value in self.labels.items() if value)
        return f"{self.game!r}, reduction={self.reduction!r}{labels}"
