"""As many images on one side as on the other."""

from __future__ import annotations

from collections.abc import Mapping

from ganfast.errors import InputError
from ganfast.metrics.images import ImageSource
from ganfast.metrics.images.choose import some_of
from ganfast.metrics.statistics import Statistics


def at_same_number(
    opened: Mapping[str, ImageSource | Statistics], seed: int | None
) -> dict[str, ImageSource | Statistics]:
    """The sources by name, each with as many images as the smallest has, chosen as ``num`` does.

    Raises:
        InputError: a number is not known, or statistics are of more images than the other side has.
    """
    counts: dict[str, int] = {}
    for name, source in opened.items():
        count = source.n if isinstance(source, Statistics) else source.count
        if count is None:
            raise InputError(f"same_number: of how many images {name} is, is not known; give num")
        counts[name] = count
    least = min(counts.values())
    chosen = dict(opened)
    for name, source in opened.items():
        if counts[name] == least:
            continue
        if isinstance(source, Statistics):
            raise InputError(
                f"same_number: {name} is a file of statistics of {counts[name]:,} images, and the "
                f"other side has {least:,}; give {name} as images"
            )
        chosen[name] = some_of(source, least, seed, name)
    return chosen
