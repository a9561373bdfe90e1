"""Where real samples come from. A source knows the shape of one sample and draws batches of
them."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.images import Skipped, open_images
from ganfast.train.config import TrainConfig
from ganfast.train.environment import need


class Source(Protocol):
    """Real samples. ``shape`` is that of one sample, without the batch."""

    shape: tuple[int, ...]

    @property
    def identity(self) -> str:
        """Tells these samples from any others, in words for a message; a run that resumes
        compares it."""
        ...

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` samples drawn with replacement, (n, *shape) float32, on the generator's device."""
        ...


class Images:
    """Images held in memory as bytes, (n, channels, height, width) uint8; batches are float32 in
    [-1, 1]. ``skipped`` are those that could not be read."""

    def __init__(self, images: Tensor, skipped: Sequence[Skipped] = ()) -> None:
        self.images = images
        self.skipped = skipped
        self.shape = tuple(images.shape[1:])

    @functools.cached_property
    def identity(self) -> str:
        """Of the pixels: a file that was replaced need not change its name or its size."""
        digest = hashlib.sha256(self.images.cpu().numpy().data).hexdigest()
        return f"{len(self.images):,} images (sha256 {digest[:16]})"

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        if self.images.device != generator.device:
            self.images = self.images.to(generator.device)
        index = torch.randint(len(self.images), (n,), generator=generator, device=generator.device)
        return to_unit(self.images[index])

    def all(self) -> Tensor:
        """Every image once, in order, float32 in [-1, 1]."""
        return to_unit(self.images)


class Mixture:
    """Equal Gaussians of one width around ``centres`` (k, 2): the modes that a generator must not
    miss."""

    shape: tuple[int, ...] = (2,)

    def __init__(self, centres: Tensor, std: float) -> None:
        self.centres = centres
        self.std = std

    @property
    def identity(self) -> str:
        return f"{len(self.centres)} Gaussians of std {self.std:g}"

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        if self.centres.device != device:  # once: such a copy waits for the device
            self.centres = self.centres.to(device)
        index = torch.randint(len(self.centres), (n,), generator=generator, device=device)
        noise = torch.randn((n, 2), generator=generator, device=device)
        return self.centres[index] + self.std * noise

    def coverage(self, points: Tensor, least: int = 1) -> tuple[int, float]:
        """How many modes have ``least`` of the ``points`` (n, 2), and the share of points at any.

        A point is at a mode if it lies within three standard deviations of its centre.
        """
        distance, nearest = torch.cdist(points, self.centres.to(points)).min(dim=1)
        at_mode = distance <= 3 * self.std
        counts = torch.bincount(nearest[at_mode], minlength=len(self.centres))
        return int((counts >= least).sum()), float(at_mode.float().mean())


def open_source(config: TrainConfig) -> Source:
    """The real samples that ``config.data`` names."""
    sources: dict[str, Callable[[], Source]] = {"digits": digits, "ring": ring, "grid": grid}
    if config.data in sources:
        return sources[config.data]()
    return folder(config.data.removeprefix("folder:"), config.image_size, config.on_error)


def to_unit(images: Tensor) -> Tensor:
    """Bytes 0..255 -> float32 in [-1, 1], the range of tanh."""
    return images.to(torch.float32).div_(127.5).sub_(1)


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
    archive or an array file as well. EXIF orientation is applied, what is transparent is white.

    Raises:
        InputError: nothing there, no image in it, or one that can't be read (with ``on_error``
            "skip": none that can).
    """
    image_module, ops = need("PIL.Image"), need("PIL.ImageOps")
    source = open_images(_checks.path("data", path), name="data", exif=True, on_error=on_error)
    pixels = bytearray()
    skipped: list[Skipped] = []
    for batch in source.batches(1):  # as small as it goes: files may be large
        skipped += batch.skipped
        for image in batch.images:
            picture = image_module.fromarray(image.numpy())
            lanczos = image_module.Resampling.LANCZOS
            pixels += ops.fit(picture, (size, size), method=lanczos).tobytes()
    if not pixels:
        raise InputError(f"data: got {str(path)!r}, of which no image can be read; repair it")
    images = torch.frombuffer(pixels, dtype=torch.uint8).view(-1, size, size, 3)
    return Images(images.permute(0, 3, 1, 2).contiguous(), skipped)
