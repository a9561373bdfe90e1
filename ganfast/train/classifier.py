"""A small classifier of the real digits, whose eyes generated ones are judged with."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganfast.optim import Adam
from ganfast.train.data import digits_and_labels
from ganfast.train.environment import cpu_threads


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


TRAINED: dict[tuple[int, int], TrainedClassifier] = {}
"""What train_classifier made in this process, by seed and epochs."""


@torch.enable_grad()  # whoever asks for it first
@cpu_threads(1)  # the number of threads shows in the last bits
def train_classifier(*, seed: int = 0, epochs: int = 25) -> TrainedClassifier:
    """Train on four fifths of the digits, test on the rest: some seconds, the same result for the
    same seed. What is handed out is shared: copy it to change it."""
    if (seed, epochs) in TRAINED:
        return TRAINED[seed, epochs]
    source, labels = digits_and_labels()
    images = source.all()
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=random)
    held_out, used = order[: len(order) // 5], order[len(order) // 5 :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DigitClassifier()
    optimizer = Adam(model.parameters(), lr=2e-3)
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
    TRAINED[seed, epochs] = TrainedClassifier(model, float(right.float().mean()), len(held_out))
    return TRAINED[seed, epochs]


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


def digits_extractor() -> DigitsExtractor:
    """What ``ganfast fid --extractor digits`` looks with: trained anew in some seconds, to the same
    weights in every process of a machine, and once in each."""
    return DigitsExtractor(copy.deepcopy(train_classifier().model))
