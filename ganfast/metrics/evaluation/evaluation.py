"""An evaluation under way: what it was given, the network, and what has been seen of each side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.evaluation.all_features import AllFeatures
from ganfast.metrics.evaluation.cache import Known
from ganfast.metrics.evaluation.classes import ClassFolders, StreamClasses, classes_of
from ganfast.metrics.evaluation.feature_set import FeatureSet
from ganfast.metrics.evaluation.findings import Findings
from ganfast.metrics.evaluation.image_set import ImageSet, Stopwatch
from ganfast.metrics.evaluation.loading import load_extractors, require_comparable, several
from ganfast.metrics.evaluation.machine import batch_size, decoding_processes
from ganfast.metrics.evaluation.overlap import same_images
from ganfast.metrics.evaluation.resumption import Resumption
from ganfast.metrics.evaluation.same_number import at_same_number
from ganfast.metrics.evaluation.sources import (
    ignored,
    images_beside,
    not_chosen_from,
    opened_side,
)
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.extractors.precision import check_precision
from ganfast.metrics.images import ImageSource, Skipped
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary


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
        with self.stopwatch("load"):
            shows = options.progress and self.ranks.first
            loaded = load_extractors(names, options, opened, beside, device, shows)
        self.extractor = loaded[0] if loaded else None
        self._others = loaded[1:]
        self.notes += self.extractor.notes if self.extractor is not None else ()
        size = batch_size(options.batch_size, loaded[0].device if loaded else None)
        different = {"fake": opened["fake"]} if same else opened
        self.notes += require_comparable(different, self.extractor, options)
        self._all_features = AllFeatures(options, self.ranks)
        sides = {name: self._side(name, source, beside) for name, source in opened.items()}
        if same:  # looked at once
            sides["real"] = sides["fake"]
        self.found = Findings(
            options,
            self.extractor,
            sides,
            {name: self._image_set(name, images) for name, images in beside.items()},
            self._held_out(options),
            self.extractor.device if self.extractor is not None else device,
            size,
            self.stopwatch,
            self.notes,
        )
        """What is known of the sides by the first extractor, all of it after scan()."""
        self._image_sets = self.found.image_sets
        # One iterable twice is iterated twice; an iterator is then at its end, which is told.
        if same or (len(given) == 2 and given["real"] is given["fake"]):
            self.notes.append("real and fake are the same: their distance tells nothing")
        self._resumption = Resumption(
            options, self.ranks, loaded, self._image_sets, size, self._all_features.identity
        )
        self.found.batch_size = self._resumption.batch_size
        self.notes += self._all_features.require_room(
            [images for images in self._image_sets if images is not self.found.held_out_images]
        )

    def scan(self) -> None:
        """Take in all images; afterwards every process knows what all of them have seen."""
        began = time.perf_counter()
        for images in self._image_sets:
            assert self.extractor is not None
            known = self._known_before(images)
            images.scan(
                self.extractor,
                batch_size=self.found.batch_size,
                workers=decoding_processes(
                    self.options.workers, self.extractor.device, self.ranks.here
                ),
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
        for images in self._image_sets:
            skipped = [one for part in self.ranks.gather(images.skipped) for one in part]
            self.found.skipped += [one.name for one in skipped]
            self._tell_skipped(images, skipped)
        self.notes += [note for images in self._image_sets for note in images.notes]
        self.found.classes = {name: self._settled(name) for name in self._labels}
        if self.ranks.count > 1:
            with self.stopwatch("reduce"):
                for images in self._image_sets:
                    for summary in images.summaries:
                        summary.all_reduce()

    def _known_before(self, images: ImageSet) -> Known | None:
        """Where to keep what is known of the reference images; None where that is nowhere, or they
        are known from there."""
        if images is not self.found.sides.get("real") or images.done or images.next_batch:
            return None
        known = Known.of(self, images)
        told = None if known is None else known.recall(images)
        self.notes += [] if told is None else [told]
        return known if told is None else None

    def _settled(self, name: str) -> ClassFolders:
        known, side = self._labels[name], self.found.sides[name]
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

    def findings(self) -> list[Findings]:
        """By each extractor, after scan()."""
        others = enumerate(self._others)
        return [self.found, *(self.found.by_other(number, one) for number, one in others)]

    def told(self) -> dict[str, Any]:
        """What decoded plain files in Pillow's place (format -> package and version), and which
        files were left out."""
        sources = [images.source.decoders for images in self._image_sets]
        decoders = {kind: name for each in sources for kind, name in each.items()}
        return {"decoders": decoders, "skipped": self.found.skipped}

    def timed(self) -> dict[str, Any]:
        """How long it took, until now."""
        return {
            "images_per_second": self.images_per_second,
            "seconds": time.perf_counter() - self.began,
            "stages": dict(self.stopwatch.seconds),
        }

    def _side(
        self, name: str, source: ImageSource | Statistics, beside: Mapping[str, ImageSource]
    ) -> ImageSet | FeatureSet | Statistics:
        if not isinstance(source, Statistics):
            return self._image_set(name, source)
        wanted = self.options.sampled or self.options.interval or self.options.chunks
        if wanted and source.features is not None and name not in beside:
            return FeatureSet(name, source, self.options)
        return source

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
        chunks = len(labels.names) if isinstance(labels, ClassFolders) else options.chunks_of(name)
        return Summary(
            extractor.dim,
            classes=extractor.classes if scored else None,
            splits=options.splits,
            chunks=chunks,
            sample=options.sample_of(name),
            features=self._all_features.file(name, extractor, extractor is self.extractor),
            spatial=extractor.spatial if options.sfid else None,
            seed=options.seed,
            chunk_of=labels.class_of if isinstance(labels, ClassFolders) else labels,
            device=extractor.device,
        )

    def _held_out(self, options: EvaluationOptions) -> ImageSet | None:
        if options.held_out is None:
            return None
        source = opened_side(options.held_out, "held_out", options)
        if isinstance(source, Statistics):
            raise InputError("held_out: got a file of statistics; give images")
        if self.extractor is None:
            raise InputError(
                "held_out: got images, and real and fake are files of features, which no network "
                "here has made; give the images of one"
            )
        summaries = [
            Summary(each.dim, sample=options.sample, seed=options.seed, device=each.device)
            for each in (self.extractor, *self._others)
        ]
        return ImageSet(
            "held_out", source, summaries[0], list(zip(self._others, summaries[1:], strict=True))
        )
