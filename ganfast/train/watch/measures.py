"""What generated samples are judged by, beside held-out ones: a table. A new measure is a row of it
and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganfast.linalg import frechet_distance
from ganfast.metrics import inception_score, manifold_metrics, moments

USUAL = 0.95  # of real samples are no farther from the nearest other one than "near" reaches


@dataclass(frozen=True)
class Sets:
    """Held-out and generated samples in the eyes of a network: features (n, d) and, where it is a
    classifier, logits (n, classes); without a network the samples' own numbers. ``n`` is the same
    for both: every measure here depends on it."""

    real: Tensor
    fake: Tensor
    real_logits: Tensor | None
    fake_logits: Tensor | None
    by_network: bool


@dataclass(frozen=True)
class Measure:
    """A row: the names of what ``of`` gives, in the log and in tables, and what they are about.
    ``fits`` says whether there is what it needs."""

    names: tuple[str, ...]
    about: str
    of: Callable[[Sets], Sequence[float]]
    fits: Callable[[Sets], bool] = lambda sets: True


def _manifold(sets: Sets) -> Sequence[float]:
    found = manifold_metrics(sets.real, sets.fake)
    return found.precision, found.recall, found.density, found.coverage


def _far(sets: Sets) -> Sequence[float]:
    """By distances in float64, whose products then have digits to spare."""
    real, fake = sets.real.double(), sets.fake.double()
    among_real = torch.cdist(real, real).fill_diagonal_(torch.inf).min(dim=1).values
    near = among_real.quantile(USUAL)
    return [float((torch.cdist(fake, real).min(dim=1).values > near).double().mean())]


def _fid(sets: Sets) -> Sequence[float]:
    return [float(frechet_distance(*moments(sets.real), *moments(sets.fake)))]


def _score(sets: Sets) -> Sequence[float]:
    return [inception_score(sets.fake_logits, splits=1)[0]]


def _class_kl(sets: Sets) -> Sequence[float]:
    assert sets.real_logits is not None and sets.fake_logits is not None
    real, fake = (
        logits.argmax(1).bincount(minlength=logits.shape[1]).double() / len(logits)
        for logits in (sets.real_logits, sets.fake_logits)
    )
    # A class that held-out data lacks counts as half a sample there, or the sum would be infinite.
    real = real.clamp_min(0.5 / len(sets.real))
    return [float(torch.special.xlogy(fake, fake / real).sum())]


def _has_logits(sets: Sets) -> bool:
    return sets.real_logits is not None


MEASURES: tuple[Measure, ...] = (
    Measure(
        ("fid",),
        "the Fréchet distance of the features (arXiv:1706.08500)",
        _fid,
        fits=lambda sets: sets.by_network,
    ),
    Measure(
        ("inception_score",),
        "exp(E KL(p(y|x) || p(y))): recognisable, and diverse over classes (arXiv:1606.03498)",
        _score,
        fits=_has_logits,
    ),
    Measure(
        ("precision", "recall", "density", "coverage"),
        "is what is generated real, and is all that is real generated (manifold_metrics)",
        _manifold,
    ),
    Measure(
        ("far",),
        "over-generalisation: the share of samples that are farther from every real one than 95 % "
        "of real ones are from the next; 0.05 is as good as real",
        _far,
    ),
    Measure(
        ("class_kl",),
        "KL of the generated classes from the real ones: mode collapse between classes; at most "
        "the log of their number where they are equally many",
        _class_kl,
        fits=_has_logits,
    ),
)


def measure(sets: Sets) -> dict[str, float]:
    """Every row that fits, by name."""
    rows = [row for row in MEASURES if row.fits(sets)]
    return {
        name: value for row in rows for name, value in zip(row.names, row.of(sets), strict=True)
    }
