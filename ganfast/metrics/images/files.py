"""A source of encoded files."""

from __future__ import annotations

from ganfast.errors import InputError
from ganfast.metrics.images.batch import BatchStream
from ganfast.metrics.images.decode import Decoder
from ganfast.metrics.images.encoded import EncodedFiles
from ganfast.metrics.images.formats import IMAGE_ENDINGS
from ganfast.metrics.images.reader import read_batches
from ganfast.metrics.images.source import ImageSource, fingerprint


class FileImages(ImageSource):
    """The images in a folder or an archive. Raises InputError if there are none."""

    resumable = True

    def __init__(
        self, files: EncodedFiles, decoder: Decoder, on_error: str, name: str, what: str
    ) -> None:
        if not files.names:
            raise InputError(f"{what}: no images in {files.path!r}: {_instead(files.ignored)}")
        self._files, self._decoder, self._on_error = files, decoder, on_error
        self.name = name
        self.count = len(files.names)
        self.ignored = files.ignored
        self.fingerprint = fingerprint("files", [*files.names, *map(str, files.sizes)])

    def _batches(self, size: int, workers: int, first: int, step: int) -> BatchStream:
        return read_batches(
            self._files,
            self._decoder,
            self._numbers(size, first, step),
            size,
            workers=workers,
            on_error=self._on_error,
        )


def _instead(ignored: dict[str, int]) -> str:
    if not ignored:
        return "it is empty"
    seen = ", ".join(f"{count} {ending}" for ending, count in list(ignored.items())[:5])
    more = ", ..." if len(ignored) > 5 else ""
    total = sum(ignored.values())
    return (
        f"{total} file{'s' if total > 1 else ''} ({seen}{more}), and an image's name ends in one "
        f"of {' '.join(sorted(IMAGE_ENDINGS))}"
    )
