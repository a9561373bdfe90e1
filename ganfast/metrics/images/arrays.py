"""Images in one array: in memory, or in an .npy or .npz file."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ganfast import _checks
from ganfast._remote import Location, is_url, name_of, shown
from ganfast.errors import InputError
from ganfast.metrics.images.batch import Batch, BatchStream
from ganfast.metrics.images.encoded import PerProcess
from ganfast.metrics.images.layout import as_tensor, channels_axis, check_uint8, to_rgb
from ganfast.metrics.images.source import ImageSource, fingerprint


class ArrayImages(ImageSource):
    """Images of one size, from a Tensor, ndarray, np.memmap or FileRows. Only the batch that is
    asked for is copied, or none of it: the batches of a tensor (n, h, w, 3) are views."""

    resumable = True

    def __init__(self, rows: Any, name: str, what: str, files: Sequence[str] = ()) -> None:
        """``files``: the paths or URLs of those that hold the rows."""
        check_uint8(rows, what)
        shape = tuple(rows.shape)
        self._axis = channels_axis(shape, what)
        if not shape[0]:
            raise InputError(f"{what}: got no images, shape {shape}")
        self._rows, self.files = rows, files
        self.name = name
        self.count = shape[0]
        self.ignored: dict[str, int] = {}
        self.fingerprint = fingerprint("array", [str(shape), "uint8"])

    def places(self) -> Iterator[str]:
        return (path if is_url(path) else os.path.realpath(path) for path in self.files)

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
    """The images in an .npy file, memory-mapped, or at a URL read as they are asked for."""
    return ArrayImages(npy_rows(Location(path), what), name, what, [path])


def npy_rows(place: Location, what: str) -> Any:
    """The array in an .npy file, of which slices can be taken; InputError if it can't be read."""
    try:
        if is_url(place.path):
            return _in_order(FileRows(place), place, "the array", what)
        return np.load(place.path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(place, error, what) from None


KEYS = ("arr_0", "images", "x", "samples")

BAD_ZIP = (
    *(zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError),
    RuntimeError,  # it is encrypted
)


def is_statistics_file(source: Any) -> bool:
    """Whether ``source`` is the path of an .npz that has ``mu`` and ``sigma``: the mean and
    covariance of features, as pytorch-fid, edm and ``ganfast stats`` save them. False for anything
    else, also a file that can't be read. One that holds images too counts as statistics, as for
    pytorch-fid."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = _checks.place("source", source)
    if not name_of(path).lower().endswith(".npz"):
        return False
    try:
        return {"mu", "sigma"} <= set(npz_members(Location(path)))
    except BAD_ZIP:
        return False


def npz_images(path: str, name: str, what: str) -> ArrayImages:
    """The images in an .npz: its arr_0, images, x or samples, or its only array."""
    return ArrayImages(npz_rows(Location(path), what), name, what, [path])


def npz_rows(place: Location, what: str) -> FileRows:
    """The array of images in an .npz, of which slices can be taken; InputError if there is none."""
    shown_path = repr(shown(place.path))
    try:
        members = npz_members(place)
        key = next((key for key in KEYS if key in members), None)
        if key is None and len(members) == 1:
            (key,) = members
        if key is None:
            if {"mu", "sigma"} <= set(members):
                raise InputError(
                    f"{what}: {shown_path} holds statistics (mu, sigma), which can be compared "
                    "with but not read as images"
                )
            raise InputError(
                f"{what}: {shown_path} has the arrays {', '.join(members) or 'none'}; save the "
                f"images as one of {', '.join(KEYS)}"
            )
        return _in_order(FileRows(place, members[key]), place, key, what)
    except BAD_ZIP as error:
        raise _unreadable(place, error, what) from None


def _in_order(rows: FileRows, place: Location, key: str, what: str) -> FileRows:
    if rows.fortran_order:
        raise InputError(
            f"{what}: {key} in {shown(place.path)!r} is in Fortran order, which can't be read "
            "image by image; save np.ascontiguousarray of it"
        )
    return rows


def _unreadable(place: Location, error: Exception, what: str) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(f"{what}: cannot read {shown(place.path)!r}: {shown(str(error))}")


class FileRows:
    """The rows of one array, without loading it: of an .npz's ``member``, or of an .npy.

    What is compressed is decompressed from front to end as rows are asked for: going back starts
    anew. Where it isn't (np.savez) they cost only the reading.
    """

    def __init__(self, place: Location, member: str | None = None) -> None:
        self._place, self._member = place, member
        with self._open() as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise ValueError(f"its .npy version {version} is not known")
            self.shape, self.fortran_order, self.dtype = read(file)
            self._start = file.tell()
        self._bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._file: PerProcess[Any] = PerProcess(self._open)

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        path = shown(self._place.path)
        try:
            file = self._file.get()
            file.seek(self._start + start * self._bytes)
            data = file.read((stop - start) * self._bytes)
        except BAD_ZIP as error:
            raise InputError(f"cannot read {path!r}: {shown(str(error))}") from None
        if len(data) < (stop - start) * self._bytes:
            raise InputError(f"cannot read {path!r}: it ends before image {stop - 1}")
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])

    def close(self) -> None:
        self._file.close()

    def _open(self) -> Any:
        if self._member is None:
            return self._place.open()
        with zipfile.ZipFile(self._place.source()) as archive:
            # It keeps the file open that it shares with the archive until it is closed itself.
            return archive.open(self._member)


def npz_members(place: Location) -> dict[str, str]:
    """The names of the arrays in an .npz -> those of the archive's members."""
    with zipfile.ZipFile(place.source()) as archive:
        return {n.removesuffix(".npy"): n for n in archive.namelist() if n.endswith(".npy")}
