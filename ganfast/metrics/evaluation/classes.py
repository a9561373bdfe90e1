"""Which class each image of a side is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganfast.errors import InputError
from ganfast.metrics.arrays_file import ArraysFile
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.images import ImageSource
from ganfast.metrics.images.arrays import ArrayImages
from ganfast.metrics.images.reader import FileImages
from ganfast.metrics.images.stream import StreamImages
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary


@dataclass(frozen=True)
class ClassFolders:
    """The names of the classes, sorted, and by an image's position the number of its class."""

    names: list[str]
    class_of: np.ndarray


class StreamClasses:
    """Of images that come with their labels: known once they have come."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._of_position: dict[int, int] = {}

    def note(self, labels: Sequence[int | str], positions: Sequence[int]) -> None:
        for label, position in zip(labels, positions, strict=True):
            number = self._number.setdefault(str(label), len(self._number))
            self._of_position[position] = number

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        return np.array([self._of_position[i] for i in positions.tolist()], dtype=np.int64)

    def settled(self, ranks: Ranks, summaries: Sequence[Summary]) -> ClassFolders:
        """The classes of all processes' images, by which each has its chunks then."""
        known = ranks.gather((list(self._number), self._of_position))
        names = sorted({name for own, _ in known for name in own})
        for summary in summaries:
            summary.renumber([self._number.get(name) for name in names])
        place = {name: i for i, name in enumerate(names)}
        count = 1 + max((max(own, default=-1) for _, own in known), default=-1)
        class_of = np.full(count, -1, dtype=np.int64)
        for own, of_position in known:
            for position, number in of_position.items():
                class_of[position] = place[own[number]]
        return ClassFolders(names, class_of)


def classes_of(
    opened: Mapping[str, ImageSource | Statistics], label_key: str | None
) -> dict[str, ClassFolders | StreamClasses]:
    """Those of each side.

    Raises:
        InputError: a side has none, or no class is on both.
    """
    found: dict[str, ClassFolders | StreamClasses] = {}
    for name, source in opened.items():
        if isinstance(source, StreamImages):
            source.labelled, source.label_key = True, label_key
            found[name] = StreamClasses()
        else:
            found[name] = _of_source(name, source)
    folders = {name: one for name, one in found.items() if isinstance(one, ClassFolders)}
    if len(folders) == len(found):
        require_common(folders)
    return found


def require_common(found: Mapping[str, ClassFolders]) -> None:
    """InputError if no class is on both sides."""
    real, fake = (set(side.names) for side in found.values())
    if not real & fake:
        raise InputError(
            f"per_class: no class folder is on both sides; real has {some_of(real)} and fake has "
            f"{some_of(fake)}; give both the same names"
        )


def _of_source(name: str, source: ImageSource | Statistics) -> ClassFolders:
    labels = _labels(source)
    if labels is not None:
        numbers, class_of = np.unique(labels, return_inverse=True)
        return ClassFolders(list(map(str, numbers)), class_of)
    if not isinstance(source, FileImages):
        kind = "statistics" if isinstance(source, Statistics) else "no folder or archive"
        raise InputError(
            f"per_class: {name} is {kind}; give a folder or an archive with a folder for each "
            "class, or a .npz with labels (arr_1), or a loader of (images, labels)"
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


def some_of(names: Any) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(map(repr, listed[:5])) + more
