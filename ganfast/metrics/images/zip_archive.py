"""Images in a .zip, read where they lie."""

from __future__ import annotations

import zipfile
from functools import partial

from ganfast.errors import InputError
from ganfast.metrics.images.encoded import (
    EncodedFiles,
    PerProcess,
    is_archived_image,
    is_archived_rest,
)
from ganfast.metrics.images.formats import count_endings


class ZipFiles(EncodedFiles):
    """Every image in the archive, sorted by name. Of several members of one name the last counts,
    as for a program that unpacks them."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = {m.filename: m for m in archive.infolist() if not m.is_dir()}
        except (zipfile.BadZipFile, OSError, NotImplementedError, EOFError) as error:
            raise InputError(f"{what}: cannot read the archive {path!r}: {error}") from None
        self.names = sorted(name for name in members if is_archived_image(name))
        self.sizes = [members[name].file_size for name in self.names]
        self.ignored = count_endings(
            name for name in members if not is_archived_image(name) and not is_archived_rest(name)
        )
        if any(members[name].flag_bits & 1 for name in self.names):
            raise InputError(
                f"{what}: {path!r} is encrypted, which is not supported: unpack it and give the "
                "folder"
            )
        self._archive = PerProcess(partial(zipfile.ZipFile, path))

    def read(self, position: int) -> bytes:
        return self._archive.get().read(self.names[position])

    def close(self) -> None:
        self._archive.close()
