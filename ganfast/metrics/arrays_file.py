"""Named arrays in one .npz, as np.load reads it: no pickle, neither written nor read."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ganfast import _checks
from ganfast._atomic_file import write_atomically
from ganfast._remote import Location, RemoteError, is_url, shown
from ganfast.errors import InputError, one_line

Array = npt.NDArray[Any]

_ENDING = ".npy"

_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,  # a size that makes no sense
    NotImplementedError,  # a compression that Python has not
    RuntimeError,  # an encrypted entry
    zipfile.BadZipFile,  # which a wrong CRC-32 raises as well
    zlib.error,
)


def save_arrays(
    path: str | os.PathLike[str],
    argument: str,
    arrays: Mapping[str, Array],
    *,
    one_writer: bool = False,
) -> None:
    """Write them as write_atomically does; ``argument`` names the path in messages."""

    def write(file: BinaryIO) -> None:
        archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        try:
            for name, array in arrays.items():
                # Entries without a time, so that equal arrays make equal files.
                entry = zipfile.ZipInfo(name + _ENDING)
                with archive.open(entry, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        except BaseException:
            # Closing would write as well; on a full disk that error would hide this one.
            archive.fp = None
            raise
        archive.close()

    write_atomically(path, argument, write, one_writer=one_writer)


class ArraysFile:
    """The arrays of a file that may be anything; every fault is an InputError of one line."""

    def __init__(self, path: str | os.PathLike[str], argument: str, kind: str) -> None:
        """``argument`` and ``kind`` ("a statistics file") are for messages."""
        self.path, self._argument, self._kind = _checks.place(argument, path), argument, kind
        if not is_url(self.path) and not os.path.isfile(self.path):
            raise InputError(f"{argument}: there is no file {self.path!r}")
        # Not np.load, which leaves a file open if its archive is damaged.
        self._place = Location(self.path)
        try:
            self._archive = zipfile.ZipFile(self._place.source())
        except _DAMAGE as error:
            if isinstance(error, (InputError, RemoteError)):
                raise InputError(f"{argument}: {one_line(error)}") from None
            raise self.refusal(f"it is no .npz, or not a whole one: {one_line(error)}") from None
        self.names = [name.removesuffix(_ENDING) for name in self._archive.namelist()]

    def __enter__(self) -> ArraysFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Array:
        try:
            with self._archive.open(name + _ENDING) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                member.read()  # to its end, where the CRC-32 is compared
                return array
        except _DAMAGE as error:
            raise self.refusal(f"its entry {name!r} can't be read: {one_line(error)}") from None

    def refusal(self, reason: str) -> InputError:
        return InputError(
            f"{self._argument}: {shown(self.path)!r} can't be used as {self._kind}: {reason}"
        )
