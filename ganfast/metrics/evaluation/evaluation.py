"""An evaluation under way: what it was given, the network, and what has been seen of each side."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.evaluation.one_pass import Side
from ganfast.metrics.evaluation.options import Options
from ganfast.metrics.evaluation.ranks import Ranks
from ganfast.metrics.evaluation.run_state import RunState
from ganfast.metrics.evaluation.stopwatch import Stopwatch
from ganfast.metrics.extractors import Extractor, load_extractor
from ganfast.metrics.images import ImageSource, is_statistics_file, open_images
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary

_LASTING = (
    "batch_size", "inception_score", "splits", "chunks", "sample", "seed",
    "background", "exif", "on_error",
)  # fmt: skip
"""Options that a run must share with the one whose state it takes up."""


class Evaluation:
    """Of the images, or statistics, that ``given`` has by the name of their argument.

    What can be wrong with the arguments is found here, before the first image is decoded.
    """

    def __init__(self, options: Options, given: Mapping[str, Any]) -> None:
        self.options = options
        self.began = time.perf_counter()
        self.ranks, self.stopwatch = Ranks.here(), Stopwatch()
        self.notes: list[str] = []
        opened = {name: _open(source, name, options) for name, source in given.items()}
        self._check_kid(opened)
        self.notes += [note for name, source in opened.items() for note in _ignored(name, source)]
        with self.stopwatch("load"):
            self.extractor = self._load(opened)
        self.notes += self.extractor.notes if self.extractor is not None else ()
        self._sides = {name: self._side(name, source) for name, source in opened.items()}
        self._share(given)
        self._compare()
        self._state = self._taken_up()

    def look(self) -> None:
        """Take in all images; afterwards every process knows what all of them have seen."""
        began = time.perf_counter()
        for side in self._passes:
            assert self.extractor is not None
            side.look(
                self.extractor,
                batch_size=self.options.batch_size,
                workers=self.options.workers_beside(self.extractor.device),
                ranks=self.ranks,
                stopwatch=self.stopwatch,
                show=self.options.progress and self.ranks.first,
                keep=self._keep,
            )
        self._looking = time.perf_counter() - began
        self._seen = sum(self.ranks.gather(sum(side.seen for side in self._passes)))
        skipped = [one for side in self._passes for one in side.skipped]
        self.skipped = [one for part in self.ranks.gather(skipped) for one in part]
        if self.ranks.count > 1:
            with self.stopwatch("reduce"):
                for side in self._passes:
                    side.summary.all_reduce()

    def end(self) -> None:
        """The result is out: nothing is left to go on from. A file that stayed would give this
        result for other images of the same names and sizes."""
        if self._state is not None:
            self._state.delete()

    def found(self, name: str) -> Summary | Statistics:
        """What is known of a side."""
        side = self._sides[name]
        return side if isinstance(side, Statistics) else side.summary

    def statistics(self, name: str) -> Statistics:
        """The same as what can be saved."""
        found = self.found(name)
        if isinstance(found, Statistics):
            return found
        assert self.extractor is not None
        return Statistics.from_moments(
            found.moments,
            **_how_made(self.extractor),
            skipped=[one.name for one in self.skipped],
        )

    def about(self, what: str) -> str | None:
        """``extractor``, ``protocol`` or ``precision`` of the numbers; None where statistics don't
        say."""
        if self.extractor is None:
            (first, *_) = self._sides.values()
            value: str | None = getattr(first, what)
            return value
        return {**_how_made(self.extractor), "extractor": self.extractor.name}[what]

    @property
    def images_per_second(self) -> float | None:
        """Of this run, in all processes together; None if there was no image left to look at."""
        return self._seen / self._looking if self._seen else None

    @property
    def _passes(self) -> list[Side]:
        """The sides that are images, each once."""
        sides = [side for side in self._sides.values() if isinstance(side, Side)]
        return list({id(side): side for side in sides}.values())

    def _load(self, opened: Mapping[str, ImageSource | Statistics]) -> Extractor | None:
        if not any(isinstance(source, ImageSource) for source in opened.values()):
            return None
        options = self.options
        if isinstance(options.extractor, Extractor):
            return options.extractor
        return load_extractor(
            options.extractor,
            weights=options.weights,
            protocol=options.how,
            precision=options.precision,
            device=options.chosen_device,
            compile=options.compile,
            progress=options.progress and self.ranks.first,
        )

    def _side(self, name: str, source: ImageSource | Statistics) -> Side | Statistics:
        if isinstance(source, Statistics):
            return source
        assert self.extractor is not None
        options = self.options
        scored = options.inception_score and name == "fake"
        summary = Summary(
            self.extractor.dim,
            classes=self.extractor.classes if scored else None,
            splits=options.splits,
            chunks=options.chunks,
            sample=options.sample,
            seed=options.seed,
            device=self.extractor.device,
        )
        return Side(name, source, summary)

    def _share(self, given: Mapping[str, Any]) -> None:
        """The same folder twice is looked at once."""
        if len(given) == 2 and _same_place(*given.values()):
            first, second = given
            self._sides[first] = self._sides[second]
            self.notes.append(f"{first} and {second} are the same: their distance tells nothing")

    def _compare(self) -> None:
        """Refuse statistics that were made in another way than the images are looked at."""
        statistics = [side for side in self._sides.values() if isinstance(side, Statistics)]
        allow = self.options.allow_mismatch
        for own, other in zip(statistics, statistics[1:], strict=False):
            if own is not other:
                self.notes += own.check_comparable(other, allow_mismatch=allow)
        for one in statistics:
            if self.extractor is None:
                continue
            if one.dim != self.extractor.dim:
                raise InputError(
                    f"the statistics have {one.dim} features and the network "
                    f"{self.extractor.name!r} has {self.extractor.dim}: make them anew with "
                    "ganfast stats"
                )
            self.notes += one.check_comparable(**_how_made(self.extractor), allow_mismatch=allow)

    def _check_kid(self, opened: Mapping[str, ImageSource | Statistics]) -> None:
        for name, source in opened.items():
            if self.options.kid and isinstance(source, Statistics):
                raise InputError(
                    f"kid: it compares images and {name} is a file of statistics; give the images, "
                    "or leave kid out"
                )

    # ---- the state of a run that may be interrupted

    def _taken_up(self) -> RunState | None:
        path = self.options.state
        if path is None or self.extractor is None:
            return None
        for side in self._passes:
            if not side.source.resumable:
                raise InputError(
                    f"state: {side.name} can only be read from its beginning; give a folder, an "
                    "archive or an array, or leave state out"
                )
        if self.ranks.count > 1:
            path = f"{path}.{self.ranks.rank}of{self.ranks.count}"
        state = RunState(path, self._identity())
        state.load()
        for side in self._passes:
            if side.name in state.sides:
                side.take_up(state.sides[side.name])
        return state

    def _identity(self) -> dict[str, Any]:
        """What must be the same for two parts of a run to make one."""
        assert self.extractor is not None
        return {
            **{name: getattr(self.options, name) for name in _LASTING},
            **{f"the images of {side.name}": side.source.fingerprint for side in self._passes},
            **_how_made(self.extractor),
            "process": f"{self.ranks.rank} of {self.ranks.count}",
        }

    def _keep(self, now: bool) -> None:
        if self._state is not None and (now or self._state.due()):
            for side in self._passes:
                self._state.sides[side.name] = side.state()
            self._state.save()


def _how_made(extractor: Extractor) -> dict[str, Any]:
    """What two sides' features must have in common to be compared."""
    return {
        "extractor": extractor.identity,
        "protocol": extractor.protocol.name,
        "precision": extractor.precision,
    }


def _open(source: Any, name: str, options: Options) -> ImageSource | Statistics:
    if isinstance(source, Statistics):
        return source
    if is_statistics_file(source):
        return Statistics.load(source)
    return open_images(
        source,
        name=name,
        background=options.background,
        exif=options.exif,
        on_error=options.on_error,
    )


def _ignored(name: str, source: ImageSource | Statistics) -> list[str]:
    """What was left out by its name, which might surprise."""
    if isinstance(source, Statistics) or not source.ignored:
        return []
    kinds = ", ".join(f"{n} {ending or 'without ending'}" for ending, n in source.ignored.items())
    return [f"{name} holds files that are no images by their names: {kinds}"]


def _same_place(real: Any, fake: Any) -> bool:
    if isinstance(real, (str, Path)) and isinstance(fake, (str, Path)):
        return os.path.realpath(real) == os.path.realpath(fake)
    # An iterator is at its end when it is looked at again; the same one twice is a mistake that
    # its emptiness will tell of.
    return real is fake and isinstance(real, (Tensor, np.ndarray, Statistics))
