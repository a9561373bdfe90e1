"""What a user gave as the two sides, opened: images, statistics, or both in one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ganfast import _checks
from ganfast._remote import Location, name_of, shown
from ganfast._terminal import printable
from ganfast.errors import InputError
from ganfast.metrics.images import ImageSource, open_images
from ganfast.metrics.images.arrays import KEYS, npz_members
from ganfast.metrics.images.reader import FileImages
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.statistics_files import statistics_at


def opened_side(source: Any, name: str, options: EvaluationOptions) -> ImageSource | Statistics:
    if isinstance(source, Statistics):
        return source
    statistics = statistics_at(source)
    if statistics is not None:
        return statistics
    return open_images(
        source,
        name=name,
        background=options.background,
        exif=options.exif,
        on_error=options.on_error,
        max_pixels=options.max_pixels,
        decoder=options.decoder,
        include=options.include,
        exclude=options.exclude,
        num=options.num,
        shuffle_seed=options.shuffle_seed,
        key=options.key,
    )


def images_beside(
    given: Mapping[str, Any],
    opened: Mapping[str, ImageSource | Statistics],
    options: EvaluationOptions,
) -> dict[str, ImageSource]:
    """The images in files of statistics that hold both, as ADM's references do, for precision and
    recall. They are a part of those that the statistics are of: near copies would be missed among
    them, and KID is a distance that more images make better."""
    found = {}
    for name, side in opened.items():
        source = given[name]
        if not options.prdc or isinstance(source, Statistics):
            continue
        if isinstance(side, Statistics) and set(KEYS) & set(_members(source)):
            found[name] = open_images(source, name=name)
    return found


def _members(source: Any) -> Iterable[str]:
    path = _checks.place("source", source)
    return npz_members(Location(path)) if name_of(path).lower().endswith(".npz") else ()


def image_name(source: ImageSource, position: int) -> str:
    """What to call the image that stands there."""
    if isinstance(source, FileImages):
        return printable(source._files.full_name(position), lines=False)
    return f"{shown(source.name)}[{position}]"


def not_chosen_from(
    opened: Mapping[str, ImageSource | Statistics], options: EvaluationOptions
) -> list[str]:
    """Which sides are statistics, from which nothing can be chosen; InputError if that is all."""
    asked = [name for name in ("num", "include", "exclude") if getattr(options, name)]
    if not asked:
        return []
    settled = [name for name, source in opened.items() if isinstance(source, Statistics)]
    if len(settled) == len(opened):
        raise InputError(
            f"{', '.join(asked)}: got statistics, whose images can't be chosen any more; give "
            "images, or leave it out"
        )
    return [f"{name} is statistics of all its images: {', '.join(asked)} chose none of them"
            for name in settled]  # fmt: skip


def ignored(name: str, source: ImageSource | Statistics) -> list[str]:
    """What was left out by its name, which might surprise."""
    if isinstance(source, Statistics) or not source.ignored:
        return []
    kinds = ", ".join(f"{n} {ending or 'without ending'}" for ending, n in source.ignored.items())
    return [f"{name} holds files that are no images by their names: {kinds}"]
