"""FID, precision and recall of each class by itself, from the pass over all images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.arrays_file import ArraysFile
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.distances.manifold import MANIFOLD, manifold_metrics
from ganfast.metrics.images import ImageSource
from ganfast.metrics.images.arrays import ArrayImages
from ganfast.metrics.images.reader import FileImages
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary


@dataclass(frozen=True)
class ClassFolders:
    """The names of the classes, sorted, and by an image's position the number of its class."""

    names: list[str]
    class_of: np.ndarray


def class_folders(opened: Mapping[str, ImageSource | Statistics]) -> dict[str, ClassFolders]:
    """Those of each side.

    Raises:
        InputError: a side has none, or no class is on both.
    """
    found = {name: _of_source(name, source) for name, source in opened.items()}
    real, fake = (set(side.names) for side in found.values())
    if not real & fake:
        raise InputError(
            f"per_class: no class folder is on both sides; real has {_some(real)} and fake has "
            f"{_some(fake)}; give both the same names"
        )
    return found


def _of_source(name: str, source: ImageSource | Statistics) -> ClassFolders:
    labels = _labels(source)
    if labels is not None:
        numbers, class_of = np.unique(labels, return_inverse=True)
        return ClassFolders(list(map(str, numbers)), class_of)
    if not isinstance(source, FileImages):
        kind = "statistics" if isinstance(source, Statistics) else "no folder or archive"
        raise InputError(
            f"per_class: {name} is {kind}; give a folder or an archive with a folder for each "
            "class, or a .npz with labels (arr_1)"
        )
    parts = [one.split("/") for one in source._files.names]
    # An archive often has one folder around all others.
    while all(len(one) > 2 for one in parts) and len({one[0] for one in parts}) == 1:
        parts = [one[1:] for one in parts]
    outside = next(("/".join(one) for one in parts if len(one) < 2), None)
    if outside is not None:
        raise InputError(
            f"per_class: {outside!r} of {name} is in no class folder; put every image in the "
            "folder of its class"
        )
    names, class_of = np.unique([one[0] for one in parts], return_inverse=True)
    return ClassFolders(names.tolist(), class_of)


LABELS = ("arr_1", "labels", "y")
"""What a .npz of images calls their classes; the first is ADM's."""


def _labels(source: ImageSource | Statistics) -> np.ndarray | None:
    """A whole number for each image, where the .npz of the images holds that too."""
    if not isinstance(source, ArrayImages) or len(source.files) != 1:
        return None
    (path,) = source.files
    if not path.lower().endswith(".npz"):
        return None
    with ArraysFile(path, "per_class", "a file of images and labels") as file:
        name = next((name for name in LABELS if name in file), None)
        if name is None:
            return None
        labels = file[name]
    if labels.shape != (source.count,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"per_class: got {name} of {labels.dtype} and shape {labels.shape} in {path!r}; give a "
            f"whole number for each of {source.count} images, all of which are taken"
        )
    return labels


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
        f"per_class: no precision and recall of {_some(without)}: of the images that are compared "
        "one by one too few are of it on a side, or all are the same"
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
        f"per_class: {side} alone has {_some(set(own) - set(other))}, which count in the FID of "
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
        notes.append(f"per_class: no FID of {_some(empty)}, with fewer than 2 images on a side")
    if few:
        dim = real[few[0]].dim
        notes.append(
            f"per_class: {len(few)} of {len(found)} classes have fewer than {dim + 1} images on a "
            "side: their FID comes out too high; compare it only at equal numbers, or with a "
            "smaller layer (--dims)"
        )
    known = [fid for fid in found.values() if fid is not None]
    return found, sum(known) / len(known) if known else None, notes


def _some(names: Any) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(map(repr, listed[:5])) + more
