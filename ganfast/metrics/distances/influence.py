"""How much each image moves FID, and with that how far FID would be with other images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.linalg import frechet_distance
from ganfast.metrics.distances.bootstrap import student
from ganfast.metrics.distances.frechet import Side, moments_of, require_one_dim
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary

Gradients = tuple[Tensor, list[tuple[Tensor, ...]]]
"""What fid_gradients() gives."""


@dataclass(frozen=True, eq=False)
class FidInfluence:
    """``low`` and ``high``: the ends of a 95% interval for FID. ``real`` and ``fake``: by how much
    FID would change, to first order, if that image of the side's sample were left out (m,), in
    float64 on the CPU; None of a side that is Statistics."""

    low: float
    high: float
    real: Tensor | None
    fake: Tensor | None


def fid_influence(real: Summary | Statistics, fake: Summary | Statistics) -> FidInfluence:
    """The influence of images on FID (Hampel, 1974), and an interval by the delta method: no FID is
    computed again.

    With g and G the gradient of FID in a side's mean and covariance, an image with the features x
    moves FID, to first order, by

        psi(x) / N,    psi(x) = g.(x - mean) + (x - mean)^T G (x - mean) - Tr G S,

    so that s^2 = Var FID = sum over the sides of Var psi / N, and the interval is FID -+ t s with
    Student's 97.5 % point t. (The infinitesimal jackknife; Efron, 1982.) The variance of psi is
    that over the side's sample, whatever N is.

    In simulation (120 data sets each of 4 to 64 features and 40 to 2,000 images: normal, rectified,
    heavy-tailed, of decaying spectra, with fewer images than features) it held FID's mean in 93 to
    99 % of the cases, where bootstrap_interval's half-samples did in 93 to 100 %, and s was 0.9 to
    1.4 times the deviation of FID, 1.7 times for 40 images of 64 features against Statistics, where
    that of half-samples was 3.5 times. With fewer images than features the gradient is taken
    without the directions in which there are none.

    What it covers and what not is as with bootstrap_interval: other images of the same kind on the
    sides that are a Summary, at these numbers of images; Statistics are held fixed. Where the sides
    are equal the gradient is 0 and the first order says nothing.

    Args:
        real, fake: a Summary with ``sample``, or Statistics; not Statistics both.

    Raises:
        ValueError: (an InputError) no sample, fewer than 2 images, or sides of different numbers of
            features.
    """
    if isinstance(real, Statistics) and isinstance(fake, Statistics):
        raise InputError(
            "real, fake: got two Statistics, which have no images; give a Summary for one of them"
        )
    return influence_by(fid_gradients(real, fake), real, fake)


def influence_by(
    gradients: Gradients, real: Summary | Statistics, fake: Summary | Statistics
) -> FidInfluence:
    """The same, where FID's gradients are known."""
    distance, sides = gradients
    fid = float(distance)
    variance, changes, fewest = 0.0, {}, math.inf
    for name, side, (mu, _, g, gradient) in zip(("real", "fake"), (real, fake), sides, strict=True):
        if isinstance(side, Statistics):
            continue
        psi = _influences(side, name, mu, g, gradient)
        variance += float(psi.var()) / side.count
        changes[name] = -(psi - psi.mean()).cpu() / (side.count - 1)
        fewest = min(fewest, len(psi))
    away = student(int(fewest) - 1) * math.sqrt(variance)
    return FidInfluence(max(fid - away, 0.0), fid + away, changes.get("real"), changes.get("fake"))


def fid_gradients(real: Side, fake: Side) -> Gradients:
    """FID, and of each side (mean, covariance, FID's gradient in the one and in the other), all in
    float64 where one of them is on a GPU."""
    (mu1, sigma1), (mu2, sigma2) = moments_of(real, "real"), moments_of(fake, "fake")
    require_one_dim(len(mu1), len(mu2))
    device = mu1.device if mu1.is_cuda else mu2.device
    with torch.inference_mode(False), torch.enable_grad():
        given = [x.to(device).clone().requires_grad_() for x in (mu1, sigma1, mu2, sigma2)]
        distance = frechet_distance(*given)
        gradients = torch.autograd.grad(distance, given)
    held = [x.detach() for x in given]
    return distance.detach(), [(*held[:2], *gradients[:2]), (*held[2:], *gradients[2:])]


@torch.no_grad()
def _influences(side: Summary, name: str, mean: Tensor, g: Tensor, gradient: Tensor) -> Tensor:
    """psi of each image of the sample, but for a constant."""
    rows = side.sample
    if len(rows) < 2:
        raise InputError(
            f"{name}: got a Summary with a sample of {len(rows)} images; make it with sample=10_000"
        )
    found = []
    for part in rows.split(1024):
        away = part.to(mean) - mean
        found.append(away @ g + ((away @ gradient) * away).sum(1))
    return torch.cat(found)
