"""What a source of images yields."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read: its ``name`` (a path; inside an archive,
    ``archive/member``) and the ``reason``."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive images of a source: number b holds the positions from b * batch_size to
    (b + 1) * batch_size - 1, less those that could not be read.

    ``images`` are uint8 RGB: one tensor (n, h, w, 3) where all sizes agree, else a list of (h, w,
    3); an empty list where none could be read. They are to be read only: they may be views of the
    user's tensor, or of memory shared with the process that decoded them. ``positions`` has the
    place of each in the source.
    """

    number: int
    images: Tensor | list[Tensor]
    positions: list[int]
    skipped: list[Skipped] = field(default_factory=list)


BatchStream: TypeAlias = Generator[Batch, None, None]
"""Batches one after another; closing it ends the processes that decode for it."""
