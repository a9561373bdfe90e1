"""Samples of digits against real ones: Fréchet distance and Inception Score in the digit
classifier's eyes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganfast.linalg import frechet_distance
from ganfast.metrics import inception_score, moments
from ganfast.train.classifier import DigitClassifier


@dataclass
class Score:
    """``fid`` (lower is better) holds in this classifier's feature space only; ``score`` lies in
    1..10."""

    fid: float
    score: float
    score_std: float


class Judge:
    """Compares sets of images (n, 1, 8, 8) with one half of the real digits.

    The other half, ``floor``, is as good as samples can get. Give the judge ``count`` samples, as
    many as that half has: both scores depend on the number of samples, and only equal numbers
    compare.
    """

    def __init__(self, model: DigitClassifier, real: Tensor, *, seed: int = 0) -> None:
        self.model = model
        order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
        reference, self.floor = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
        self.count = len(self.floor)
        self.reference = moments(self._look(reference)[0])

    def __call__(self, images: Tensor) -> Score:
        """The scores of ``images``."""
        features, logits = self._look(images)
        fid = frechet_distance(*self.reference, *moments(features))
        return Score(float(fid), *inception_score(logits))

    @torch.no_grad()
    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(images)
        return features, self.model.head(features)
