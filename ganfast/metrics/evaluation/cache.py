"""Reference images that were looked at before: what is known of them, kept by their content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ganfast._remote import is_url
from ganfast._terminal import Progress
from ganfast.errors import InputError
from ganfast.metrics.choices import EXTRACTORS, LIBRARIES
from ganfast.metrics.evaluation.image_set import ImageSet
from ganfast.metrics.evaluation.run_state import RunState
from ganfast.metrics.images import ImageSource
from ganfast.metrics.images.arrays import ArrayImages
from ganfast.metrics.images.layout import as_tensor
from ganfast.metrics.images.reader import FileImages
from ganfast.metrics.statistics import version_of

if TYPE_CHECKING:
    from ganfast.metrics.evaluation.evaluation import Evaluation

LEAST = 1000
"""Images of a set that is kept: fewer are looked at again as fast as they are hashed."""
LIMIT = 2 << 30
"""Bytes of all entries together; the ones that were not used for the longest time are removed."""
_DECIDES = ("background", "exif", "max_pixels", "decoder", "on_error")
"""Options that change what is seen in the same files."""
_PACKAGES = ("ganfast", "torch", "pillow", "simplejpeg", "imagecodecs")
"""Whose other version may decode or compute in another way."""


def cache_folder() -> Path:
    """Where entries are: ``ganfast/statistics`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(base).expanduser() / "ganfast" / "statistics"


def entries() -> list[tuple[Path, os.stat_result]]:
    """The files, the one first that was not used for the longest time."""
    found = []
    with contextlib.suppress(OSError):
        for path in cache_folder().glob("*.npz"):
            with contextlib.suppress(OSError):  # another process removes it at this moment
                found.append((path, path.stat()))
    return sorted(found, key=lambda entry: entry[1].st_mtime)


@dataclass(frozen=True)
class Known:
    """What there is to know of one set of images, by one extractor or several: the Summary of each,
    under the hash of the images' content and of all that decides how they are looked at.

    An entry is a file as of --state, written beside and renamed. One that can't be read, or
    written, is no error: the images are looked at.
    """

    identity: dict[str, Any]

    @classmethod
    def of(cls, evaluation: Evaluation, images: ImageSet) -> Known | None:
        """None where nothing is kept: of few images, of streams, of what lies on a server or a GPU
        (whose content costs as much to read as to see), where moments are kept in many parts, of
        one process of several, and of a network of the user's own, whose code may change."""
        source, options = images.source, evaluation.options
        extractors = [evaluation.extractor, *(extractor for extractor, _ in images.others)]
        names = [one.name for one in extractors if one is not None]
        if (
            not options.cache
            or options.whole  # the features of every image are wanted, not what is known of them
            or evaluation.ranks.count > 1
            or not isinstance(source, FileImages | ArrayImages)
            or _on_a_gpu(source)
            or (source.count or 0) < LEAST
            or images.summary.chunks > 1
            or not all(name in EXTRACTORS or name.partition(":")[0] in LIBRARIES for name in names)
            or any(map(is_url, source.places()))
        ):
            return None
        with evaluation.stopwatch("hash"):
            content = _content(source, options.progress)
        if content is None:
            return None
        made = [
            [one.name, one.identity, one.protocol.name, one.precision, one.device.type, one.layer]
            for one in extractors
            if one is not None
        ]
        settings = [summary.settings for summary in images.summaries]
        identity = {
            "images": content,
            "extractors": made,
            "summaries": settings,
            "versions": {name: version_of(name) for name in _PACKAGES},
            **{name: getattr(options, name) for name in _DECIDES},
        }
        return cls(identity)

    @property
    def path(self) -> Path:
        key = json.dumps(self.identity, sort_keys=True).encode()
        return cache_folder() / f"{hashlib.sha256(key).hexdigest()}.npz"

    def recall(self, images: ImageSet) -> str | None:
        """Have ``images`` be done, and say so, if they are known."""
        path = self.path
        if not path.is_file():
            return None
        try:
            state = RunState(path, self.identity)
            state.load()
            images.restore(state.sides["known"])
        except (InputError, OSError, KeyError):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return (
            f"{images.name}: these images are known from an earlier run and were not looked at "
            f"again ({path}); --no-cache does"
        )

    def keep(self, images: ImageSet) -> None:
        """Write down what is known of ``images`` now."""
        path = self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            state = RunState(path, self.identity)
            state.lock()  # another run that has it writes the same
            try:
                state.sides["known"] = images.state()
                state.save()
            finally:
                state.unlock()
            _trim(path)
        except (InputError, OSError):
            return


def _on_a_gpu(source: FileImages | ArrayImages) -> bool:
    rows = getattr(source, "_rows", None)
    return isinstance(rows, Tensor) and rows.device.type != "cpu"


def _trim(newest: Path) -> None:
    found = entries()
    size = sum(facts.st_size for _, facts in found)
    for path, facts in found:
        if size <= LIMIT or path == newest:
            break
        path.unlink(missing_ok=True)
        size -= facts.st_size


def _content(source: ImageSource, show: bool) -> str | None:
    """sha256 hex of all that is in the files, or of the pixels; None where that can't be read."""
    digest = hashlib.sha256()
    try:
        with Progress("known images?", source.count, unit="images", show=show) as progress:
            for label, data, count in _pieces(source):
                digest.update(f"{label} {len(data)}\n".encode("utf-8", "surrogateescape"))
                digest.update(data)
                progress.advance(count)
    except Exception:  # whatever a damaged file makes a reader raise is told when it is decoded
        return None
    return digest.hexdigest()


def _pieces(source: ImageSource) -> Iterator[tuple[str, Any, int]]:
    """What to call it, bytes, and of how many images these are."""
    if isinstance(source, FileImages):
        files = source._files
        try:
            for position, name in enumerate(files.names):
                yield name, files.read(position), 1
        finally:
            files.close()
        return
    assert isinstance(source, ArrayImages) and source.count is not None
    rows = source._rows
    yield str(tuple(rows.shape[1:])), b"", 0
    for start in range(0, source.count, 256):
        part = as_tensor(rows[start : start + 256]).contiguous()
        yield "", part.numpy().reshape(-1).data, len(part)
