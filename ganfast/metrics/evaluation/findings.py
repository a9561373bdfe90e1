"""What an evaluation has found out about its sides by one extractor: what numbers are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast._terminal import running
from ganfast.metrics.distances.influence import Gradients
from ganfast.metrics.evaluation.classes import ClassFolders
from ganfast.metrics.evaluation.feature_set import FeatureSet
from ganfast.metrics.evaluation.image_set import ImageSet, Stopwatch
from ganfast.metrics.evaluation.loading import how_made
from ganfast.metrics.evaluation.machine import there_if_room
from ganfast.metrics.evaluation.sources import image_name
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.images import ImageSource
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Moments, Summary


@dataclasses.dataclass
class Findings:
    """Of ``sides``, by the name of their argument; of ``beside``, the images that a side's file of
    statistics holds too; of ``held_out``, real images that were not trained on."""

    options: EvaluationOptions
    extractor: Extractor | None
    """None where all sides are statistics."""
    sides: dict[str, ImageSet | FeatureSet | Statistics]
    beside: dict[str, ImageSet]
    held_out_images: ImageSet | None
    device: torch.device
    """Where the network runs, and what compares images one by one."""
    batch_size: int
    stopwatch: Stopwatch
    notes: list[str]
    classes: dict[str, ClassFolders] = dataclasses.field(default_factory=dict)
    """Of each side, after the pass."""
    skipped: list[str] = dataclasses.field(default_factory=list)
    """Names of files that were left out."""
    gradients: Gradients | None = None
    """FID's, where they were needed."""

    def by_other(self, number: int, extractor: Extractor) -> Findings:
        """The same by another extractor, the ``number``-th of each side's ``others``."""
        sfid = self.options.sfid and extractor.spatial is not None
        return dataclasses.replace(
            self,
            options=dataclasses.replace(self.options, adm=False, sfid=sfid),
            extractor=extractor,
            device=extractor.device,
            sides={
                name: side.by_other(number)
                for name, side in self.sides.items()
                if isinstance(side, ImageSet)
            },
            held_out_images=self.held_out_images and self.held_out_images.by_other(number),
            notes=list(extractor.notes),
            gradients=None,
        )

    @contextmanager
    def step(self, stage: str, what: str) -> Iterator[None]:
        """Within, ``what`` is computed: a line on stderr says so, and the time counts as that of
        ``stage``."""
        with self.stopwatch(stage), running(what, show=self.options.progress):
            yield

    @property
    def image_sets(self) -> list[ImageSet]:
        """The sides that are images, or have some beside their statistics, each once."""
        sides = [side for side in self.sides.values() if isinstance(side, ImageSet)]
        sides += [*self.beside.values(), *filter(None, [self.held_out_images])]
        return list({id(side): side for side in sides}.values())

    def known(self, name: str) -> Summary | Statistics:
        """What is known of a side."""
        side = self.sides[name]
        return side if isinstance(side, Statistics) else side.summary

    def images_beside(self, name: str) -> Summary | None:
        """Of the images that the file of a side's statistics holds too, where they were needed."""
        images = self.beside.get(name)
        return None if images is None else images.summary

    @property
    def held_out(self) -> Summary | None:
        """Of real images that were not trained on, if some were given."""
        return None if self.held_out_images is None else self.held_out_images.summary

    def sampled(self, name: str) -> Summary:
        """What has a sample of the side's images."""
        side = self.images_beside(name) or self.known(name)
        assert isinstance(side, Summary)
        return side

    def sample(self, name: str) -> Tensor:
        """Features of some images of the side, where the network runs."""
        return self.sampled(name).sample.to(self.device)

    def compared(self, name: str, what: str) -> tuple[Tensor, np.ndarray]:
        """The features of the side's images that ``what`` ("prdc", ...) compares, all or a sample,
        and where these images stand in their source."""
        if what not in self.options.whole:
            return self.sample(name), self.sampled(name).sample_positions
        side = self.sides[name]
        if isinstance(side, FeatureSet):
            rows, positions = side.rows(), np.arange(side.summary.count)
        else:
            file = self.sampled(name).all_features
            rows, positions = file.rows(), file.positions()
        return there_if_room(rows, self.device), positions

    def sampled_names(self, name: str) -> Callable[[int], str]:
        """By the number of a row of sample(), what its image is called."""
        positions, source = self.sampled(name).sample_positions, self.source_of_sample(name)
        if source is None:
            return lambda row: f"{name}[{positions[row]}]"
        return lambda row: image_name(source, int(positions[row]))

    def source_of_sample(self, name: str) -> ImageSource | None:
        """The images that the side's sample is of; None where it has none."""
        side = self.beside.get(name) or self.sides[name]
        return side.source if isinstance(side, ImageSet) else None

    def spatial(self, name: str) -> Moments | Statistics:
        """Of the features of sFID."""
        side = self.known(name)
        found = side.spatial if isinstance(side, Statistics) else side.spatial_moments
        assert found is not None
        return found

    def statistics(self, name: str) -> Statistics:
        """What is known of a side as what can be saved."""
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
        (side, *_) = self.sides.values()
        first = side.statistics if isinstance(side, FeatureSet) else side
        assert isinstance(first, Statistics)
        made = {name: getattr(first, name) for name in ("protocol", "extractor", "precision")}
        return {**made, "dims": first.dim, "batch_size": None}
