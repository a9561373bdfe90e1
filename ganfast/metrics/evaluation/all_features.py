"""Where an evaluation keeps the features of all images, for what compares them one by one."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ganfast import _room
from ganfast._terminal import note
from ganfast.errors import InputError
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.evaluation.image_set import ImageSet
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.summary.feature_file import FeatureFile


class AllFeatures:
    """The files of features, if any are asked for: one for each side and extractor."""

    def __init__(self, options: EvaluationOptions, ranks: Ranks) -> None:
        self._options, self._ranks = options, ranks
        self._files: dict[str, FeatureFile] = {}
        self.folder = Path(options.features_folder or _beside(options) or tempfile.gettempdir())
        if not options.whole:
            return
        if not self.folder.is_dir():
            raise InputError(
                f"features_folder: there is no folder {str(self.folder)!r}; make it first"
            )
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise InputError(
                f"features_folder: can't write to the folder {str(self.folder)!r}; choose another"
            )

    def file(self, name: str, extractor: Extractor, first: bool) -> FeatureFile | None:
        """For the features by ``extractor`` of a side; a ``first`` one is not in its name."""
        options = self._options
        if not options.whole:
            return None
        called = name if first else f"{name}.{re.sub(r'[^a-zA-Z0-9_.-]+', '-', extractor.name)}"
        if options.keep_features and os.path.lexists(self._kept(called)):
            raise InputError(
                f"features_folder: there is {str(self._kept(called))!r} already; give another "
                "folder, or move it"
            )
        path = None
        if options.state is not None:  # to go on with
            ranks = self._ranks
            process = f".{ranks.rank}of{ranks.count}" if ranks.count > 1 else ""
            path = self.folder / f".{Path(options.state).name}.{called}{process}.features"
        made = FeatureFile(
            extractor.dim, dtype=options.features_dtype, folder=self.folder, path=path
        )
        self._files[called] = made
        return made

    @property
    def identity(self) -> dict[str, str]:
        """What must be the same for a run to go on."""
        if not self._files:
            return {}
        names = {"features_dtype": self._options.features_dtype}
        return {**names, "features_folder": str(self.folder.resolve())}

    def require_room(self, sides: Sequence[ImageSet]) -> list[str]:
        """What to say of the room that the files take; InputError if there is less."""
        if not self._files or not sides:
            return []
        each = sum(summary.all_features.row_bytes for summary in sides[0].summaries)
        counts = [side.source.count for side in sides]
        if None in counts:
            said = f"about {_room.size(each)} for each image"
        else:
            size = each * sum(count for count in counts if count is not None)
            # The first of several processes gets a copy of what the others have.
            copies = 1 + (self._ranks.count > 1) + self._options.keep_features
            there = sum(len(file) * file.row_bytes for file in self._files.values())
            free = shutil.disk_usage(self.folder).free
            if copies * size - there > free:
                raise InputError(
                    f"features_folder: the features of all images take "
                    f"{_room.size(copies * size)}, and {str(self.folder)!r} has "
                    f"{_room.size(free)} free; give another folder, "
                    "features_dtype float16, or a sample of the images "
                    f"({', '.join(self._options.whole)} without full)"
                )
            said = _room.size(size)
        sentence = (
            f"{' and '.join(self._options.whole)} from all images: their features take {said} in "
            f"{str(self.folder)!r}{'' if self._options.keep_features else ' meanwhile'}"
        )
        if self._options.progress and self._ranks.first:
            note(sentence)
        return [sentence]

    def finish(self) -> None:
        """The result is out: keep the files under their names, or nothing of them."""
        for called, file in self._files.items():
            if self._options.keep_features and self._ranks.first and len(file):
                file.save(self._kept(called))
        for file in self._files.values():
            file.delete()

    def _kept(self, called: str) -> Path:
        return self.folder / f"{called}.features.npy"


def _beside(options: EvaluationOptions) -> Path | None:
    return None if options.state is None else Path(options.state).parent
