"""An evaluation under way: what it was given, the network, and what has been seen of each side."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.choices import BATCH_SIZE, DIMS
from ganfast.metrics.distances.influence import Gradients
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.evaluation.all_features import AllFeatures
from ganfast.metrics.evaluation.cache import Known
from ganfast.metrics.evaluation.classes import ClassFolders, StreamClasses, classes_of
from ganfast.metrics.evaluation.image_set import ImageSet, Stopwatch
from ganfast.metrics.evaluation.loading import how_made, load_extractors, several
from ganfast.metrics.evaluation.overlap import same_images
from ganfast.metrics.evaluation.resumption import Resumption
from ganfast.metrics.evaluation.same_number import at_same_number
from ganfast.metrics.evaluation.sources import (
    ignored,
    image_name,
    images_beside,
    not_chosen_from,
    opened_side,
)
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.extractors.precision import check_precision
from ganfast.metrics.images import ImageSource, Skipped
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Moments, Summary


class Evaluation:
    """Of the images, or statistics, that ``given`` has by the name of their argument.

    What can be wrong with the arguments is found here, before the first image is decoded.
    """

    def __init__(self, options: EvaluationOptions, given: Mapping[str, Any]) -> None:
        self.options, names = options, several(options.extractor)
        if len(given) < 2 and len(names) > 1:
            raise InputError(f"extractor: got {len(names)} of them; give one")
        self.began = time.perf_counter()
        self.ranks, self.stopwatch = Ranks.of_this_process(), Stopwatch()
        self.notes: list[str] = []
        self.gradients: Gradients | None = None
        """FID's, where they were needed."""
        default = "cuda" if torch.cuda.is_available() else "cpu"
        device = _checks.device("device", default if options.device is None else options.device)
        check_precision(options.precision, device)
        opened = {name: opened_side(source, name, options) for name, source in given.items()}
        beside = images_beside(given, opened, options)
        self.notes += not_chosen_from(opened, options)
        if options.same_number:
            opened = at_same_number(opened, options.shuffle_seed)
        same = same_images(given, opened)
        self.notes += [note for name, source in opened.items() for note in ignored(name, source)]
        self._labels = classes_of(opened, options.label_key) if options.per_class else {}
        self.classes: dict[str, ClassFolders] = {}
        """Of each side, after scan()."""
        with self.stopwatch("load"):
            shows = options.progress and self.ranks.first
            loaded = load_extractors(names, options, opened, beside, device, shows)
        self.extractor = loaded[0] if loaded else None
        self._others = loaded[1:]
        self.notes += self.extractor.notes if self.extractor is not None else ()
        self.batch_size = self._batch_size()
        self._all_features = AllFeatures(options, self.ranks)
        self._sides = {name: self._side(name, source) for name, source in opened.items()}
        self._beside = {name: self._image_set(name, images) for name, images in beside.items()}
        self._held_out = self._held_out_images(options)
        if same:  # looked at once
            self._sides["real"] = self._sides["fake"]
        # One iterable twice is iterated twice; an iterator is then at its end, which is told.
        if same or (len(given) == 2 and given["real"] is given["fake"]):
            self.notes.append("real and fake are the same: their distance tells nothing")
        self._compare()
        self._resumption = Resumption(
            options, self.ranks, loaded, self._image_sets, self.batch_size,
            self._all_features.identity,
        )  # fmt: skip
        self.batch_size = self._resumption.batch_size
        self.notes += self._all_features.require_room(
            [images for images in self._image_sets if images is not self._held_out]
        )

    def scan(self) -> None:
        """Take in all images; afterwards every process knows what all of them have seen."""
        began = time.perf_counter()
        for images in self._image_sets:
            assert self.extractor is not None
            known = self._known_before(images)
            images.scan(
                self.extractor,
                batch_size=self.batch_size,
                workers=_workers(self.options.workers, self.extractor.device, self.ranks.here),
                ranks=self.ranks,
                stopwatch=self.stopwatch,
                show=self.options.progress and self.ranks.first,
                save=self._resumption.save,
            )
            if known is not None:
                known.keep(images)
        seconds = time.perf_counter() - began
        seen = sum(self.ranks.gather(sum(images.seen for images in self._image_sets)))
        self.images_per_second = seen / seconds if seen else None
        """Of this run, in all processes together; None if there was no image left to look at."""
        self.skipped: list[str] = []
        for images in self._image_sets:
            skipped = [one for part in self.ranks.gather(images.skipped) for one in part]
            self.skipped += [one.name for one in skipped]
            self._tell_skipped(images, skipped)
        self.notes += [note for images in self._image_sets for note in images.notes]
        self.classes = {name: self._settled(name) for name in self._labels}
        if self.ranks.count > 1:
            with self.stopwatch("reduce"):
                for images in self._image_sets:
                    for summary in images.summaries:
                        summary.all_reduce()

    def _known_before(self, images: ImageSet) -> Known | None:
        """Where to keep what is known of the reference images; None where that is nowhere, or they
        are known from there."""
        if images is not self._sides.get("real") or images.done or images.next_batch:
            return None
        known = Known.of(self, images)
        told = None if known is None else known.recall(images)
        self.notes += [] if told is None else [told]
        return known if told is None else None

    def _settled(self, name: str) -> ClassFolders:
        known, side = self._labels[name], self._sides[name]
        if isinstance(known, ClassFolders):
            return known
        assert isinstance(side, ImageSet)
        return known.settled(self.ranks, side.summaries)

    def _tell_skipped(self, images: ImageSet, skipped: list[Skipped]) -> None:
        """Why files were skipped, in a note; InputError, in all processes, if too few are left."""
        if not skipped:
            return
        count = sum(self.ranks.gather(images.summary.count))
        why = f"{len(skipped):,} skipped, the first {skipped[0].name!r}: {skipped[0].reason}"
        if count < 2:
            raise InputError(f"{images.name}: got {count} images that can be read and {why}")
        self.notes.append(f"{images.name}: {why}")

    def finish(self) -> None:
        """The result is out: nothing is left to go on from. A file that stayed would give this
        result for other images of the same names and sizes."""
        self._all_features.finish()
        self._resumption.delete()

    def by_others(self) -> list[Evaluation]:
        """The same with each other extractor in the place of the first, after scan()."""
        views = []
        for number, extractor in enumerate(self._others):
            view = copy.copy(self)
            view.extractor, view._others, view.notes = extractor, [], list(extractor.notes)
            view.gradients = None
            sfid = self.options.sfid and extractor.spatial is not None
            view.options = dataclasses.replace(self.options, adm=False, sfid=sfid)
            view._sides = {
                name: dataclasses.replace(side, summary=side.others[number][1], others=[])
                for name, side in self._sides.items()
                if isinstance(side, ImageSet)
            }
            if self._held_out is not None:
                held_out = self._held_out.others[number][1]
                view._held_out = dataclasses.replace(self._held_out, summary=held_out, others=[])
            views.append(view)
        return views

    def known(self, name: str) -> Summary | Statistics:
        """What is known of a side."""
        side = self._sides[name]
        return side if isinstance(side, Statistics) else side.summary

    def images_beside(self, name: str) -> Summary | None:
        """Of the images that the file of a side's statistics holds too, where they were needed."""
        images = self._beside.get(name)
        return None if images is None else images.summary

    def sampled(self, name: str) -> Summary:
        """What has a sample of the side's images."""
        side = self.images_beside(name) or self.known(name)
        assert isinstance(side, Summary)
        return side

    def sample(self, name: str) -> Tensor:
        """Features of some images of the side, where the network runs."""
        assert self.extractor is not None
        return self.sampled(name).sample.to(self.extractor.device)

    def compared(self, name: str, what: str) -> tuple[Tensor, np.ndarray]:
        """The features of the side's images that ``what`` ("prdc", ...) compares, all or a sample,
        and where these images stand in their source."""
        if what not in self.options.whole:
            return self.sample(name), self.sampled(name).sample_positions
        assert self.extractor is not None
        file = self.sampled(name).all_features
        return _there(file.rows(), self.extractor.device), file.positions()

    def sampled_names(self, name: str) -> Callable[[int], str]:
        """By the number of a row of sample(), what its image is called."""
        side = self._beside.get(name) or self._sides[name]
        assert isinstance(side, ImageSet)
        source, positions = side.source, side.summary.sample_positions
        return lambda row: image_name(source, int(positions[row]))

    def source_of_sample(self, name: str) -> ImageSource | None:
        """The images that the side's sample is of; None where it has none."""
        side = self._beside.get(name) or self._sides[name]
        return side.source if isinstance(side, ImageSet) else None

    def spatial(self, name: str) -> Moments | Statistics:
        """Of the features of sFID."""
        side = self.known(name)
        found = side.spatial if isinstance(side, Statistics) else side.spatial_moments
        assert found is not None
        return found

    def source(self, name: str) -> ImageSource:
        """The images of a side that has some."""
        side = self._sides[name]
        assert isinstance(side, ImageSet)
        return side.source

    def statistics(self, name: str) -> Statistics:
        """The same as what can be saved."""
        known = self.known(name)
        if isinstance(known, Statistics):
            return known
        assert self.extractor is not None
        return Statistics.from_moments(
            known.moments,
            spatial=known.spatial_moments,
            **how_made(self.extractor),
            layer=self.extractor.layer,
            skipped=self.skipped,
            notes=self.notes,
        )

    def provenance(self) -> dict[str, Any]:
        """``protocol``, ``extractor`` and ``precision`` of the numbers, None where statistics don't
        say, ``dims``, of how many features they are, and ``batch_size``."""
        if self.extractor is not None:
            made = {**how_made(self.extractor), "extractor": self.extractor.name}
            return {**made, "dims": self.extractor.dim, "batch_size": self.batch_size}
        (first, *_) = self._sides.values()
        assert isinstance(first, Statistics)
        made = {name: getattr(first, name) for name in ("protocol", "extractor", "precision")}
        return {**made, "dims": first.dim, "batch_size": None}

    @property
    def decoders(self) -> dict[str, str]:
        """What decoded plain files in Pillow's place: format -> package and version."""
        sources = [images.source.decoders for images in self._image_sets]
        return {kind: name for each in sources for kind, name in each.items()}

    @property
    def _image_sets(self) -> list[ImageSet]:
        """The sides that are images, or have some beside their statistics, each once."""
        sides = [side for side in self._sides.values() if isinstance(side, ImageSet)]
        sides += [*self._beside.values(), *filter(None, [self._held_out])]
        return list({id(side): side for side in sides}.values())

    def _batch_size(self) -> int:
        if self.options.batch_size is not None or self.extractor is None:
            return self.options.batch_size or BATCH_SIZE["cpu"]
        return BATCH_SIZE.get(self.extractor.device.type, BATCH_SIZE["cpu"])

    def _side(self, name: str, source: ImageSource | Statistics) -> ImageSet | Statistics:
        return source if isinstance(source, Statistics) else self._image_set(name, source)

    def _image_set(self, name: str, source: ImageSource) -> ImageSet:
        assert self.extractor is not None
        others = [(other, self._summary(name, other)) for other in self._others]
        made = ImageSet(name, source, self._summary(name, self.extractor), others)
        labels = self._labels.get(name)
        made.classes = labels if isinstance(labels, StreamClasses) else None
        return made

    def _summary(self, name: str, extractor: Extractor) -> Summary:
        options = self.options
        labels = self._labels.get(name)
        scored = options.inception_score and name != "real"
        return Summary(
            extractor.dim,
            classes=extractor.classes if scored else None,
            splits=options.splits,
            chunks=len(labels.names) if isinstance(labels, ClassFolders) else options.chunks,
            sample=options.sample_of(name),
            features=self._all_features.file(name, extractor, extractor is self.extractor),
            spatial=extractor.spatial if options.sfid else None,
            seed=options.seed,
            chunk_of=labels.class_of if isinstance(labels, ClassFolders) else labels,
            device=extractor.device,
        )

    def _held_out_images(self, options: EvaluationOptions) -> ImageSet | None:
        if options.held_out is None:
            return None
        source = opened_side(options.held_out, "held_out", options)
        if isinstance(source, Statistics):
            raise InputError("held_out: got a file of statistics; give images")
        assert self.extractor is not None
        summaries = [
            Summary(each.dim, sample=options.sample, seed=options.seed, device=each.device)
            for each in (self.extractor, *self._others)
        ]
        return ImageSet(
            "held_out", source, summaries[0], list(zip(self._others, summaries[1:], strict=True))
        )

    @property
    def held_out(self) -> Summary | None:
        """Of real images that were not trained on, if some were given."""
        return None if self._held_out is None else self._held_out.summary

    def _compare(self) -> None:
        """Refuse statistics that were made in another way than the images are looked at."""
        statistics = [side for side in self._sides.values() if isinstance(side, Statistics)]
        allow = self.options.allow_mismatch
        for own, other in zip(statistics, statistics[1:], strict=False):
            if own is not other:
                self.notes += own.check_comparable(other, allow_mismatch=allow)
        for one in statistics:
            if self.extractor is None:
                if self.options.dims not in (None, one.dim):
                    raise InputError(
                        f"dims: got {self.options.dims}, and the statistics have {one.dim} "
                        "features; leave dims out"
                    )
                continue
            if one.dim != self.extractor.dim:
                layer = self.extractor.layer is not None and one.dim in DIMS
                raise InputError(
                    f"the statistics have {one.dim} features and the network "
                    f"{self.extractor.name!r} has {self.extractor.dim}: "
                    + (f"give --dims {one.dim} (dims={one.dim}), or " if layer else "")
                    + "make them anew with ganfast stats"
                )
            self.notes += one.check_comparable(**how_made(self.extractor), allow_mismatch=allow)


def _there(rows: Tensor, device: torch.device) -> Tensor:
    """On the GPU that is meant, if two sides of so many rows, and copies, have room there."""
    if device.type != "cuda" or 16 * rows.numel() > torch.cuda.mem_get_info(device)[0]:
        return rows
    return rows.to(device)


def _workers(asked: int | None, device: torch.device, processes: int) -> int:
    """As many as asked for, or as suit a network on ``device``. A GPU waits for the decoders, which
    get all cores but one in eight, for what feeds it. On a CPU the network takes all cores and
    waits for nobody: one process decodes the next batch meanwhile."""
    if asked is not None:
        return asked
    if device.type == "cpu":
        return 1
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    share = cores // processes
    return max(1, share - max(1, share // 8))
