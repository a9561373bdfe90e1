"""The features of all images, in a file, for what compares images one by one."""

from __future__ import annotations

import io
import os
import tempfile
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ganfast._atomic_file import write_atomically
from ganfast.errors import InputError
from ganfast.metrics.arrays import PIECE
from ganfast.metrics.distributed import gather, require_group
from ganfast.metrics.no_autograd import no_autograd

DTYPES = {"float32": torch.float32, "float16": torch.float16}


class FeatureFile:
    """Rows (n, dim) in the order in which they come, and their positions in their source.

    In memory are the positions alone, 8 bytes an image. A file without a name, which is gone with
    this process in whatever way that ends, or ``path``, which load_state_dict() goes on with.

    Args:
        dim: features of an image.
        dtype: "float32", or "float16" for half of the room: what these hold of a feature.
        folder: where the file is.
        path: its name, or None.
    """

    def __init__(
        self, dim: int, *, dtype: str = "float32", folder: Path, path: Path | None = None
    ) -> None:
        self.dim, self.dtype, self.folder, self.path = dim, DTYPES[dtype], folder, path
        self._file: io.FileIO | None = None
        self._positions: list[np.ndarray] = []
        self._written, self._crc = 0, 0
        self._coming: tuple[Tensor, torch.cuda.Event] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._positions))

    @property
    def row_bytes(self) -> int:
        return self.dim * self.dtype.itemsize

    @no_autograd
    def add(self, rows: Tensor, positions: np.ndarray) -> None:
        """Take in ``rows`` (n, dim) at ``positions`` (n,) int64, none of them seen before.

        From a GPU they are copied while it goes on, and written at the next call of any method.

        Raises:
            ValueError: (an InputError) no room, or numbers beyond float16; nothing is taken in
                then.
        """
        self._settle()
        rows = rows.to(self.dtype)
        if rows.is_cuda:
            kept = torch.empty(rows.shape, dtype=self.dtype, pin_memory=True)
            kept.copy_(rows, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
            self._coming = kept, copied
        else:
            self._write(rows)
        self._positions.append(positions)

    def rows(self) -> Tensor:
        """All of them, (n, dim), the file mapped into memory: pages that are looked at are read,
        and what is written to them is lost."""
        self._settle()
        if self._file is None or not self._written:
            return torch.empty(0, self.dim, dtype=self.dtype)
        name = str(self.dtype).removeprefix("torch.")
        mapped = np.memmap(self._file, name, "c", shape=(len(self), self.dim))
        return torch.from_numpy(mapped)

    def positions(self) -> np.ndarray:
        """(n,) int64: of each of rows()."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._positions])

    @no_autograd
    def all_reduce(self, group: Any = None) -> None:
        """Let the first process of ``group`` have the rows of all; the others keep their own."""
        self._settle()
        world, device = require_group(group)
        counts = gather(torch.tensor([len(self)]), group)[:, 0].tolist()
        first = dist.get_rank(group) == 0
        for rank in range(1, world):
            mine = dist.get_rank(group) == rank
            source = rank if group is None else dist.get_global_rank(group, rank)
            rows, positions = self.rows(), torch.from_numpy(self.positions())
            for start in range(0, counts[rank], PIECE):
                count = min(PIECE, counts[rank] - start)
                # As bytes, which every kind of group can send.
                sent = torch.empty(count, self.row_bytes + 8, dtype=torch.uint8, device=device)
                if mine:
                    piece = slice(start, start + count)
                    sent[:, :8] = positions[piece, None].view(torch.uint8)
                    sent[:, 8:] = rows[piece].view(torch.uint8)
                dist.broadcast(sent, source, group=group)
                if first:
                    here = sent.cpu()
                    self._write(here[:, 8:].contiguous().view(self.dtype))
                    self._positions.append(here[:, :8].contiguous().view(torch.int64)[:, 0].numpy())

    def state_dict(self) -> dict[str, Tensor]:
        """What it takes to go on with the file, which is on the disk when this returns."""
        self._settle()
        if self._file is not None and self.path is not None:
            os.fsync(self._file.fileno())
        return {
            "positions": torch.from_numpy(self.positions()),
            "crc": torch.tensor([self._crc], dtype=torch.int64),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on with the file as it was then; InputError if it is not that any more."""
        positions = state["positions"].cpu().numpy()
        expected = len(positions) * self.row_bytes
        self._positions, self._written, self._crc = [], 0, 0
        if not len(positions):
            return
        assert self.path is not None
        try:
            self._file = self._opened("r+b")
            while self._written < expected:
                part = self._file.read(min(2**24, expected - self._written))
                if not part:
                    break
                self._crc = zlib.crc32(part, self._crc)
                self._written += len(part)
        except OSError as error:
            raise InputError(
                f"features_folder: can't go on with {str(self.path)!r} ({error.strerror}), which "
                "has the features of the run that the file of state keeps; delete that file to "
                "begin anew"
            ) from None
        if self._written != expected or self._crc != int(state["crc"]):
            raise InputError(
                f"features_folder: {str(self.path)!r} is damaged, or of another run than the file "
                "of state; delete that file to begin anew"
            )
        self._positions = [positions]

    def save(self, path: Path) -> None:
        """Write them all to ``path``, a .npy, by ascending position."""
        rows, order = self.rows().numpy(), np.argsort(self.positions())

        def write(file: Any) -> None:
            described = np.lib.format.header_data_from_array_1_0(rows)
            np.lib.format.write_array_header_1_0(file, described)
            for start in range(0, len(order), PIECE):
                file.write(rows[order[start : start + PIECE]].data)

        write_atomically(path, "features_folder", write)

    def delete(self) -> None:
        """Close it, and remove it."""
        self._coming = None
        if self._file is not None:
            self._file.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _settle(self) -> None:
        """Have all rows in the file."""
        if self._coming is not None:
            (rows, copied), self._coming = self._coming, None
            copied.synchronize()
            self._write(rows)

    def _write(self, rows: Tensor) -> None:
        if self.dtype == torch.float16 and not bool(torch.isfinite(rows).all()):
            raise InputError(
                "features_dtype: got features beyond 65,504, which is the most that float16 holds; "
                "give float32"
            )
        data = memoryview(rows.contiguous().numpy().tobytes())
        try:
            if self._file is None:
                self._file = self._opened()
            # Not at the end, where a call that was interrupted may have left a part.
            self._file.seek(self._written)
            left = data
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise InputError(
                f"features_folder: can't write features to {str(self.folder)!r} "
                f"({error.strerror}); make room, or choose another folder"
            ) from None
        self._written += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def _opened(self, mode: str = "w+b") -> io.FileIO:
        opened: Any
        if self.path is None:
            opened = tempfile.TemporaryFile(buffering=0, dir=self.folder)  # noqa: SIM115
        else:
            opened = open(self.path, mode, buffering=0)  # noqa: SIM115
        weakref.finalize(self, opened.close)
        file: io.FileIO = opened
        return file
