"""FID, precision and recall of each class by itself, from the pass over all images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.distances.manifold import MANIFOLD, manifold_metrics
from ganfast.metrics.evaluation.classes import ClassFolders, some_of
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary


def manifold_per_class(
    compared: Mapping[str, tuple[Tensor, np.ndarray]], classes: Mapping[str, ClassFolders]
) -> tuple[dict[str, dict[str, float] | None], list[str]]:
    """Precision, recall, density and coverage by class that is on both sides, with the numbers of
    images that they are of (None of fewer than they need), and sentences on that; of each side
    features, and where their images stand."""
    rows: dict[str, dict[str, Tensor]] = {}
    for name, (features, positions) in compared.items():
        of = torch.from_numpy(classes[name].class_of[positions])
        names = enumerate(classes[name].names)
        rows[name] = {known: features[(of == i).to(features.device)] for i, known in names}
    real, fake = rows["real"], rows["fake"]
    found: dict[str, dict[str, float] | None] = {}
    without = []
    for name in (name for name in real if name in fake):
        try:
            metrics = manifold_metrics(real[name], fake[name])
        except InputError:
            found[name] = None
            without.append(name)
        else:
            counts = {"n_real": len(real[name]), "n_fake": len(fake[name])}
            found[name] = {key: getattr(metrics, key) for key in MANIFOLD} | counts
    if not without:
        return found, []
    return found, [
        f"per_class: no precision and recall of {some_of(without)}: of the images that are "
        "compared one by one too few are of it on a side, or all are the same"
    ]


def fid_per_class(
    sides: Mapping[str, Summary | Statistics], classes: Mapping[str, ClassFolders]
) -> tuple[dict[str, float | None], float | None, list[str]]:
    """FID by class that is on both sides (None of fewer than two images), its mean, and sentences
    on what to keep in mind. The intra-FID of Miyato & Koyama 2018, arXiv:1802.05637."""
    moments: dict[str, dict[str, Any]] = {}
    for name, side in sides.items():
        assert isinstance(side, Summary)
        moments[name] = dict(zip(classes[name].names, side.chunk_moments, strict=True))
    real, fake = moments["real"], moments["fake"]
    notes = [
        f"per_class: {side} alone has {some_of(set(own) - set(other))}, which count in the FID of "
        "all images only"
        for side, own, other in (("real", real, fake), ("fake", fake, real))
        if set(own) - set(other)
    ]
    found: dict[str, float | None] = {}
    empty, few = [], []
    for name in (name for name in real if name in fake):
        least = min(real[name].count, fake[name].count)
        found[name] = frechet_terms(real[name], fake[name]).fid if least > 1 else None
        empty += [name] * (least < 2)
        few += [name] * (2 <= least <= real[name].dim)
    if empty:
        notes.append(f"per_class: no FID of {some_of(empty)}, with fewer than 2 images on a side")
    if few:
        dim = real[few[0]].dim
        notes.append(
            f"per_class: {len(few)} of {len(found)} classes have fewer than {dim + 1} images on a "
            "side: their FID comes out too high; compare it only at equal numbers, or with a "
            "smaller layer (--dims)"
        )
    known = [fid for fid in found.values() if fid is not None]
    return found, sum(known) / len(known) if known else None, notes
