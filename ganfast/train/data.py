"""The data that has a name, and folders of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ganfast import _checks
from ganfast._remote import shown
from ganfast.errors import InputError
from ganfast.metrics.images import Skipped, open_images
from ganfast.train.config import TrainConfig
from ganfast.train.environment import need
from ganfast.train.source import Images, Mixture, Source


def open_source(config: TrainConfig) -> Source:
    """The real samples that ``config.data`` names."""
    sources: dict[str, Callable[[], Source]] = {"digits": digits, "ring": ring, "grid": grid}
    if config.data in sources:
        return sources[config.data]()
    return folder(config.data.removeprefix("folder:"), config.image_size, config.on_error)


def digits_and_labels() -> tuple[Images, Tensor]:
    """scikit-learn's 1,797 real handwritten digits, 1x8x8, and which digit each is, (1797,) int64.
    No download."""
    bunch = need("sklearn.datasets").load_digits()
    grey = torch.from_numpy(bunch.images)  # float64, 0..16
    images = (grey * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    return Images(images), torch.from_numpy(bunch.target).to(torch.int64)


def digits() -> Images:
    """The digits without their labels."""
    return digits_and_labels()[0]


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
