"""Images in one array: in memory, or in an .npy or .npz file."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganfast.errors import InputError
from ganfast.metrics.images.batch import Batch, BatchStream
from ganfast.metrics.images.layout import as_tensor, channels_axis, check_dtype, to_rgb
from ganfast.metrics.images.source import ImageSource, fingerprint


class ArrayImages(ImageSource):
    """Images of one size, from a Tensor, ndarray, np.memmap or NpzRows. Only the batch that is
    asked for is copied, or none of it: the batches of a tensor (n, h, w, 3) are views."""

    resumable = True

    def __init__(self, rows: Any, name: str, what: str) -> None:
        check_dtype(rows.dtype, what)
        shape = tuple(rows.shape)
        self._axis = channels_axis(shape, what)
        if not shape[0]:
            raise InputError(f"{what}: there are no images: shape {shape}")
        self._rows = rows
        self.name = name
        self.count = shape[0]
        self.ignored: dict[str, int] = {}
        self.fingerprint = fingerprint("array", [str(shape), "uint8"])

    def _batches(self, size: int, workers: int, first: int, step: int) -> BatchStream:
        try:
            for number in self._numbers(size, first, step):
                rows = as_tensor(self._rows[number * size : (number + 1) * size])
                positions = list(range(number * size, number * size + len(rows)))
                yield Batch(number, to_rgb(rows, self._axis), positions)
        finally:
            if hasattr(self._rows, "close"):
                self._rows.close()


def npy_images(path: str, name: str, what: str) -> ArrayImages:
    """The images in an .npy file, memory-mapped."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{what}: cannot read {path!r}: {error}") from None
    return ArrayImages(rows, name, what)
