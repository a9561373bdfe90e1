"""Where real samples come from. A source knows the shape of one sample and draws batches of
them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.train.extras import need

IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}


class Source(Protocol):
    """Real samples. ``shape`` is that of one sample, without the batch."""

    shape: tuple[int, ...]

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` samples drawn with replacement, (n, *shape) float32, on the generator's device."""
        ...


class Images:
    """Images held in memory as bytes, (n, channels, height, width) uint8; batches are float32 in
    [-1, 1]."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.shape = tuple(images.shape[1:])

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

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        index = torch.randint(len(self.centres), (n,), generator=generator, device=device)
        noise = torch.randn((n, 2), generator=generator, device=device)
        return self.centres.to(device)[index] + self.std * noise


def open_source(data: str, image_size: int = 32) -> Source:
    """The source named ``data``: digits, ring, grid or folder:PATH (resized to ``image_size``)."""
    kind, _, path = data.partition(":")
    if kind == "folder" and path:
        return folder(Path(path), image_size)
    sources: dict[str, Callable[[], Source]] = {"digits": digits, "ring": ring, "grid": grid}
    if data not in sources:
        raise InputError(f"data must be one of {', '.join(sources)}, folder:PATH, got {data!r}")
    return sources[data]()


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


def folder(path: Path, size: int) -> Images:
    """Every image under ``path``, at any depth, in sorted order: the middle square, resized to size
    x size RGB.

    Held in memory (a 32x32 image takes 3 KB). Files whose names don't end like an image's are
    passed over; one that does and can't be read raises InputError with its name, as do a missing
    folder and one without images.
    """
    image_module, ops = need("PIL.Image"), need("PIL.ImageOps")
    if not path.is_dir():
        state = "is not a folder" if path.exists() else "does not exist"
        raise InputError(f"data: {str(path)!r} {state}; give folder:PATH, PATH holding images")
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGE_ENDINGS and f.is_file())
    if not files:
        endings = " ".join(sorted(IMAGE_ENDINGS))
        raise InputError(f"data: no images in {str(path)!r}; names must end in one of {endings}")
    pixels = bytearray()
    for file in files:
        try:
            with image_module.open(file) as image:
                upright = ops.exif_transpose(image).convert("RGBA")
        except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError) as error:
            raise InputError(
                f"data: {str(file)!r} can't be read as an image ({error}); repair or remove it"
            ) from None
        # Without this, what is transparent shows whatever colour lies hidden under it.
        paper = image_module.new("RGBA", upright.size, "white")
        flat = image_module.alpha_composite(paper, upright).convert("RGB")
        pixels += ops.fit(flat, (size, size), method=image_module.Resampling.LANCZOS).tobytes()
    images = torch.frombuffer(pixels, dtype=torch.uint8).view(len(files), size, size, 3)
    return Images(images.permute(0, 3, 1, 2).contiguous())
