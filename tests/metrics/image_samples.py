"""Photographs to test with, from scikit-learn: nothing is downloaded."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ganfast.metrics.images import Batch, ImageSource


@functools.cache
def photographs() -> tuple[np.ndarray, ...]:
    """Two, 427 x 640 x 3 uint8."""
    from sklearn.datasets import load_sample_images

    return tuple(load_sample_images().images)


def crop(number: int, height: int = 32, width: int = 32) -> np.ndarray:
    """A different part of one of them for each number."""
    photograph = photographs()[number % 2]
    top = number * 37 % (photograph.shape[0] - height)
    left = number * 61 % (photograph.shape[1] - width)
    return np.ascontiguousarray(photograph[top : top + height, left : left + width])


def crops(n: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.stack([crop(number, height, width) for number in range(n)])


def encode(image: Any, kind: str = "PNG", **options: Any) -> bytes:
    """An array or PIL image as the bytes of a file."""
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def png_files(n: int, sizes: tuple[int, ...] = (32,)) -> dict[str, bytes]:
    """n crops as 000.png, 001.png, ..., their heights going through ``sizes``."""
    return {f"{i:03d}.png": encode(crop(i, sizes[i % len(sizes)])) for i in range(n)}


def images_in(source: ImageSource, batch_size: int = 4, **options: Any) -> list[Tensor]:
    """Every image of a source, one by one."""
    return [image for batch in source.batches(batch_size, **options) for image in batch.images]


def assert_same_batches(ours: list[Batch], theirs: list[Batch]) -> None:
    assert [batch.number for batch in ours] == [batch.number for batch in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.positions == b.positions and a.skipped == b.skipped
        assert type(a.images) is type(b.images) and len(a.images) == len(b.images)
        assert all(torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True))
