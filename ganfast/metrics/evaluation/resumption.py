"""How an evaluation goes on where an interrupted one left off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganfast.errors import InputError
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.evaluation.image_set import ImageSet
from ganfast.metrics.evaluation.loading import how_made
from ganfast.metrics.evaluation.run_state import RunState
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.options import EvaluationOptions

_LASTING = (
    "inception_score", "splits", "chunks", "sample", "seed",
    "background", "exif", "max_pixels", "on_error",
)  # fmt: skip
"""Options that a run must share with the one whose state it restores."""


class Resumption:
    """Brings ``image_sets`` to where the file of the option state has them, and keeps it up to
    date; without that option, or images, it does nothing.

    Args:
        more: what else must be the same for two parts of a run to make one, by name.
    """

    def __init__(
        self,
        options: EvaluationOptions,
        ranks: Ranks,
        extractors: Sequence[Extractor],
        image_sets: Sequence[ImageSet],
        batch_size: int,
        more: Mapping[str, Any],
    ) -> None:
        self.batch_size = batch_size
        """Where nobody chose another, that of the run that goes on."""
        self._options, self._ranks, self._image_sets = options, ranks, image_sets
        self._state: RunState | None = None
        if options.state is not None and extractors:
            self._state = self._restored(self._identity(extractors, more))

    def save(self, now: bool) -> None:
        if self._state is not None and (now or self._state.due()):
            for images in self._image_sets:
                self._state.sides[images.name] = images.state()
            self._state.save()

    def delete(self) -> None:
        if self._state is not None:
            self._state.delete()

    def _restored(self, identity: dict[str, Any]) -> RunState:
        for images in self._image_sets:
            if not images.source.resumable:
                raise InputError(
                    f"state: {images.name} can only be read from its beginning; give a folder, an "
                    "archive or an array, or leave state out"
                )
        assert self._options.state is not None
        path, ranks = self._options.state, self._ranks
        if ranks.count > 1:
            path = f"{path}.{ranks.rank}of{ranks.count}"
        state = RunState(path, identity)
        state.lock()
        chosen = self._options.batch_size is not None
        found = state.load(own=() if chosen else ("batch_size",))
        if not chosen:
            self._go_on_with(state, found)
        for images in self._image_sets:
            if images.name in state.sides:
                images.restore(state.sides[images.name])
        return state

    def _go_on_with(self, state: RunState, found: bool) -> None:
        """Take over the batch size of a run that goes on, in all processes alike."""
        mine = state.identity["batch_size"] if found else None
        begun = {size for size in self._ranks.gather(mine) if size is not None}
        if len(begun) > 1:
            raise InputError(
                f"state: got files of batch_size {' and '.join(map(str, sorted(begun)))}; delete "
                "them to begin anew"
            )
        self.batch_size = state.identity["batch_size"] = begun.pop() if begun else self.batch_size

    def _identity(self, extractors: Sequence[Extractor], more: Mapping[str, Any]) -> dict[str, Any]:
        """What must be the same for two parts of a run to make one."""
        first, *others = extractors
        options = self._options
        return {
            "batch_size": self.batch_size,
            **{name: getattr(options, name) for name in _LASTING},
            **{name: True for name in ("per_class", "sfid") if getattr(options, name)},
            **more,
            **{f"the images of {one.name}": one.source.fingerprint for one in self._image_sets},
            **how_made(first),
            **{f"extractor {one.name}": list(how_made(one).values()) for one in others},
            "process": f"{self._ranks.rank} of {self._ranks.count}",
        }
