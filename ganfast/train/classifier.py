"""A small classifier of the real digits, and the judge that looks at samples through it: Fréchet
distance and Inception Score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganfast.linalg import frechet_distance
from ganfast.metrics import inception_score, moments
from ganfast.train.data import digits_and_labels
from ganfast.train.environment import cpu_threads
from ganfast.train.source import Images


class DigitClassifier(nn.Module):
    """Images (n, 1, 8, 8) in [-1, 1] -> logits (n, 10); ``features`` gives the (n, 64) before the
    last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def features(self, images: Tensor) -> Tensor:
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


@dataclass
class TrainedClassifier:
    """A classifier in eval mode and the share of ``held_out`` digits, which it never saw, that it
    gets right."""

    model: DigitClassifier
    accuracy: float
    held_out: int


def train_classifier(*, seed: int = 0, epochs: int = 25) -> TrainedClassifier:
    """Train on four fifths of the digits, test on the rest: some seconds, the same result for the
    same seed."""
    source, labels = digits_and_labels()
    images = source.all()
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=random)
    held_out, used = order[: len(order) // 5], order[len(order) // 5 :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DigitClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    steps = epochs * (len(used) // 64 + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in used[torch.randperm(len(used), generator=random)].split(64):
            # A little noise, so that the features describe strokes rather than exact pixels.
            noise = 0.1 * torch.randn(images[batch].shape, generator=random)
            loss = F.cross_entropy(model(images[batch] + noise), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        right = model(images[held_out]).argmax(1) == labels[held_out]
    return TrainedClassifier(model, float(right.float().mean()), len(held_out))


@dataclass
class Score:
    """``fid`` (lower is better) holds in this classifier's feature space only; ``score`` lies in
    1..10."""

    fid: float
    score: float
    score_std: float


class Judge:
    """Compares sets of images (n, 1, 8, 8) with the digits that are held out from training.

    ``floor``, as many of those that are learned from, is as good as samples can get. Give the judge
    ``count`` samples, as many as that: both scores depend on the number of samples, and only equal
    numbers compare.
    """

    def __init__(self, model: DigitClassifier, digits: Images) -> None:
        self.model = model
        reference = digits.held_out.all()
        self.count = len(reference)
        self.floor = digits.train.first(self.count)
        self.reference = moments(self._classify(reference)[0])

    def __call__(self, images: Tensor) -> Score:
        """The scores of ``images``."""
        features, logits = self._classify(images)
        fid = frechet_distance(*self.reference, *moments(features))
        return Score(float(fid), *inception_score(logits))

    @torch.no_grad()
    def _classify(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(images)
        return features, self.model.head(features)


class DigitsExtractor(nn.Module):
    """RGB (n, 3, 8, 8) in [-1, 1] -> features (n, 64), logits (n, 10) of its grey picture."""

    input_size = 8
    grey: Tensor

    def __init__(self, classifier: DigitClassifier) -> None:
        super().__init__()
        self.classifier = classifier
        # ITU-R 601, as Pillow has it; the sum is 1, so a grey picture stays as it is.
        self.register_buffer("grey", torch.tensor([0.299, 0.587, 0.114]), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        grey = (images * self.grey.view(1, 3, 1, 1)).sum(1, keepdim=True)
        features = self.classifier.features(grey)
        return features, self.classifier.head(features)


@cpu_threads(1)  # the number of threads shows in the last bits
def digits_extractor() -> DigitsExtractor:
    """What ``ganfast fid --extractor digits`` looks with: trained anew in some seconds, to the same
    weights in every process of a machine."""
    return DigitsExtractor(train_classifier().model)
