"""The images that a person should look at, found by their features."""

from __future__ import annotations

import base64
import contextlib
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ganfast._terminal import Progress
from ganfast.metrics.distances.directions import covariance_directions
from ganfast.metrics.distances.memorisation import nearest_rows
from ganfast.metrics.evaluation.findings import Findings
from ganfast.metrics.images import ImageSource

SHOWN = 12
"""Images in a grid."""
DIRECTIONS, ENDS, LEAST_SHARE = 3, 3, 0.01
"""Directions at most, images at each end of one, and the part of the term that one must carry."""
_SIDE = 160
"""Pixels of the longer side of a picture on the page."""


@dataclass(frozen=True)
class Picture:
    """``data``: a data: URL of a PNG. ``beside``: the picture it is to be compared with."""

    name: str
    words: str
    data: str
    beside: Picture | None = None


@dataclass(frozen=True)
class Grid:
    """``rows``: further pictures, each list under a sentence of its own."""

    title: str
    what: str
    pictures: list[Picture]
    rows: list[tuple[str, list[Picture]]] = field(default_factory=list)


def grids(findings: Findings, result: dict[str, Any]) -> list[Grid]:
    """What can be shown of the sides that are images and can be read again."""
    with (
        findings.stopwatch("report"),
        Progress("report", None, unit="pictures", show=findings.options.progress) as progress,
    ):
        return _grids(findings, result, progress)


def _grids(findings: Findings, result: dict[str, Any], progress: Progress) -> list[Grid]:
    real, fake = (_Side.of(findings, name, progress) for name in ("real", "fake"))
    found = []
    if fake and result.get("costly_images"):
        rows = fake.rows_of(name for name, _ in result["costly_images"])
        changes = [f"FID {change:+.3g} without it" for _, change in result["costly_images"]]
        found.append(
            Grid(
                "Generated images that cost most",
                "Without one of them FID would be lower by the most, to first order.",
                [fake.picture(row, words) for row, words in zip(rows, changes, strict=True)],
            )
        )
    if not (real and fake):
        return found + _directions(findings, real, fake)
    squared, nearest = nearest_rows(fake.features, real.features)
    away, _ = nearest_rows(real.features, fake.features)

    def with_nearest(row: int) -> Picture:
        other = real.picture(int(nearest[row]), "the nearest real image")
        return fake.picture(row, f"distance {float(squared[row].sqrt()):.3g}", other)

    found += [
        Grid(
            "Generated images farthest from real ones",
            "Each above the real image that is nearest to it in the network's features.",
            [with_nearest(row) for row in _largest(squared)],
        ),
        Grid(
            "Real images farthest from generated ones",
            "What the generator does not make.",
            [real.picture(row, f"distance {float(away[row].sqrt()):.3g}")
             for row in _largest(away)],
        ),
        Grid(
            "A random sample",
            "Generated images, each above the real image that is nearest to it.",
            [with_nearest(row) for row in range(min(SHOWN, len(squared)))],
        ),
    ]  # fmt: skip
    found += _directions(findings, real, fake)
    pairs = result.get("memorised_pairs") or []
    copies = [
        fake.picture(i, f"ratio {pair[2]:.3g}", real.picture(j, "the real image"))
        for pair, i, j in zip(
            pairs,
            fake.rows_of(pair[0] for pair in pairs),
            real.rows_of(pair[1] for pair in pairs),
            strict=True,
        )
    ]
    if copies:
        found.append(Grid("Near copies", "Each above the real image that it is near to.", copies))
    return found


def _directions(findings: Findings, real: _Side | None, fake: _Side | None) -> list[Grid]:
    """The images at both ends of the directions that carry the covariance term."""
    ends = [(name, side) for name, side in (("real", real), ("generated", fake)) if side]
    if not ends:
        return []
    known = findings.known("real"), findings.known("fake")
    directions = covariance_directions(*known, number=DIRECTIONS, gradients=findings.gradients)
    rows = []
    for number, one in enumerate(directions, 1):
        if one.share < LEAST_SHARE:
            break
        ratio = one.fake / one.real if one.real else math.inf
        vary = (
            f"generated images vary {ratio:.2g} times as much as real ones along it"
            if math.isfinite(ratio)
            else "real images do not vary along it"
        )
        shown = [
            picture
            for end in (-1, 1)
            for picture in _at_the_end(ends, end * one.vector, _ENDS[end])
        ]
        rows.append((f"Direction {number}: {one.share:.0%} of the term; {vary}.", shown))
    if not rows:
        return []
    pairs = " Real images above, generated ones below." if len(ends) == 2 else ""
    return [
        Grid(
            "Directions of variety",
            "What carries the covariance term of FID: directions of feature space along which one "
            "side varies more than the other, by the images farthest along them, at one end and at "
            f"the other.{pairs}",
            [],
            rows,
        )
    ]


def _at_the_end(ends: list[tuple[str, _Side]], vector: torch.Tensor, end: str) -> list[Picture]:
    """The images farthest along ``vector``, those of a second side under those of the first."""
    columns = []
    for name, side in ends:
        along = side.features.double() @ vector.to(side.features.device)
        columns.append([side.picture(row, f"{name}, {end}") for row in _largest(along)[:ENDS]])
    if len(columns) == 1:
        return columns[0]
    return [replace(above, beside=below) for above, below in zip(*columns, strict=False)]


_ENDS = {-1: "one end", 1: "other end"}


def _largest(values: torch.Tensor) -> list[int]:
    found: list[int] = values.argsort(descending=True, stable=True)[:SHOWN].tolist()
    return found


class _Side:
    """The sample of one side, and its images."""

    def __init__(
        self, findings: Findings, name: str, source: ImageSource, progress: Progress
    ) -> None:
        self._progress = progress
        self._source, self._name = source, findings.sampled_names(name)
        self._positions = findings.sampled(name).sample_positions
        self.features = findings.sample(name)

    @classmethod
    def of(cls, findings: Findings, name: str, progress: Progress) -> _Side | None:
        """None for statistics, and for a stream, which is over."""
        source = findings.source_of_sample(name)
        if source is None or not source.resumable:
            return None
        return cls(findings, name, source, progress)

    def rows_of(self, names: Iterable[str]) -> list[int]:
        rows = {self._name(row): row for row in range(len(self._positions))}
        return [rows[name] for name in names]

    def picture(self, row: int, words: str, beside: Picture | None = None) -> Picture:
        batches = self._source.batches(1, start=int(self._positions[row]))
        with contextlib.closing(batches):
            (image,) = next(batches).images
        self._progress.advance()
        return Picture(self._name(row), words, _data_url(image), beside)


def _data_url(image: torch.Tensor) -> str:
    """A PNG, smaller where the image is large."""
    from PIL import Image

    picture = Image.fromarray(image.cpu().contiguous().numpy())
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
