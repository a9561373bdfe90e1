"""Where real samples come from: what is learned, and what is kept aside to judge by."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError, InputTypeError, one_line
from ganfast.metrics.images import Skipped

HELD_OUT = 4  # one image in so many is held out
HELD_OUT_AT_MOST = 5000


class Samples(Protocol):
    """Real samples to draw from."""

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` samples drawn with replacement, (n, *shape) float32, on the generator's device."""
        ...

    def first(self, n: int) -> Tensor:
        """The same ``n`` samples each time, or as many as there are, on the CPU."""
        ...


class Source(Protocol):
    """Real samples in two parts that share nothing. ``shape`` is that of one sample."""

    shape: tuple[int, ...]

    @property
    def train(self) -> Samples:
        """What the networks learn from."""
        ...

    @property
    def held_out(self) -> Samples:
        """What they never see."""
        ...

    @property
    def identity(self) -> str:
        """Tells these samples from any others, in words for a message; a run that resumes
        compares it."""
        ...


class Images:
    """Images held in memory as bytes, (n, channels, height, width) uint8; batches are float32 in
    [-1, 1]. ``skipped`` are those that could not be read.

    ``train`` and ``held_out`` are the images in two parts, the same for any seed of a run: a
    quarter of them, 5,000 at most, are held out.
    """

    def __init__(self, images: Tensor, skipped: Sequence[Skipped] = ()) -> None:
        self.images = images
        self.skipped = skipped
        self.shape = tuple(images.shape[1:])

    @functools.cached_property
    def identity(self) -> str:
        """Of the pixels: a file that was replaced need not change its name or its size."""
        digest = hashlib.sha256(self.images.cpu().numpy().data).hexdigest()
        return f"{len(self.images):,} images (sha256 {digest[:16]})"

    @functools.cached_property
    def train(self) -> Images:
        return self._part(slice(self._kept_aside, None))

    @functools.cached_property
    def held_out(self) -> Images:
        return self._part(slice(self._kept_aside))

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        if self.images.device != generator.device:
            self.images = self.images.to(generator.device)
        index = torch.randint(len(self.images), (n,), generator=generator, device=generator.device)
        return to_unit(self.images[index])

    def first(self, n: int) -> Tensor:
        return to_unit(self.images[:n].cpu())

    def all(self) -> Tensor:
        """Every image once, in order, float32 in [-1, 1]."""
        return to_unit(self.images)

    @property
    def _kept_aside(self) -> int:
        return min(len(self.images) // HELD_OUT, HELD_OUT_AT_MOST)

    def _part(self, which: slice) -> Images:
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(0))
        return Images(self.images[order[which]])


class Few:
    """``images``, of whose training part only the first ``count`` are learned; what is held out
    stays the same."""

    def __init__(self, images: Images, count: int) -> None:
        self.shape, self.held_out = images.shape, images.held_out
        self.train = Images(images.train.images[:count])
        self.identity = f"the first {count} of {images.identity}"


class Drawn:
    """Samples that a function draws anew each time: ``draw(n, generator)`` -> (n, *shape) float32
    on the generator's device. What is held out is drawn like what is learned."""

    def __init__(
        self,
        draw: Callable[[int, torch.Generator], Tensor],
        shape: Sequence[int],
        identity: str = "samples of a function",
    ) -> None:
        self.draw = draw
        self.shape: tuple[int, ...] = tuple(shape)
        self.identity = identity

    @property
    def train(self) -> Drawn:
        return self

    @property
    def held_out(self) -> Drawn:
        return self

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        samples = self.draw(n, generator)
        if samples.shape != (n, *self.shape):
            raise InputError(
                f"source: the function gave samples of shape {tuple(samples.shape)}; give "
                f"{(n, *self.shape)}"
            )
        return samples

    def first(self, n: int) -> Tensor:
        return self.batch(n, torch.Generator().manual_seed(0))


class Mixture(Drawn):
    """Equal Gaussians of one width around ``centres`` (k, 2): the modes that a generator must not
    miss."""

    def __init__(self, centres: Tensor, std: float) -> None:
        super().__init__(self._draw, (2,), f"{len(centres)} Gaussians of std {std:g}")
        self.centres = centres
        self.std = std

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
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


def as_source(data: Any) -> Source:
    """A source of what people have: a Source as it is; uint8 images (n, channels, side, side), as a
    tensor or array, or a Dataset whose items are such images, or PIL's, or begin with one; or a
    function ``draw(n, generator)`` of float32 samples, in [-1, 1] if they are images.

    Raises:
        InputError: it is none of these, or holds no images.
    """
    if hasattr(data, "held_out") and hasattr(data, "train"):
        found: Source = data
        return found
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, str):
        return Images(_images_of(data))
    if callable(data):
        return Drawn(data, _shape_of(data))
    raise InputTypeError(
        f"source: got a {type(data).__name__}; give images as uint8, a Dataset of them that has a "
        "length (of a DataLoader its dataset), or a function of (n, generator)"
    )


def _shape_of(draw: Callable[[int, torch.Generator], Tensor]) -> torch.Size:
    """The shape of a sample of ``draw``."""
    try:
        two = draw(2, torch.Generator().manual_seed(0))
    except TypeError as error:
        raise InputTypeError(
            f"source: a function that does not take (n, generator) ({one_line(error)}); give one "
            "that draws n samples by that torch.Generator"
        ) from error
    if not isinstance(two, Tensor) or two.dtype != torch.float32 or two.shape[:1] != (2,):
        is_tensor = isinstance(two, Tensor)
        got = f"{two.dtype} of shape {tuple(two.shape)}" if is_tensor else type(two).__name__
        raise InputError(
            f"source: a function that gave {got} for n = 2; give one of float32 tensors (n, ...)"
        )
    return two.shape[1:]


def _images_of(data: Any) -> Tensor:
    if not len(data):
        raise InputError("source: has no images; give one at least")
    try:
        images = torch.as_tensor(data) if hasattr(data, "shape") else _stacked(data)
    except (TypeError, RuntimeError, ValueError) as error:
        raise InputError(
            f"source: its items can't be stacked as images ({one_line(error)}); give images of one "
            "size, or tuples that begin with one"
        ) from error
    shape = tuple(images.shape)
    if images.dim() != 4 or images.dtype != torch.uint8:
        cure = " (of floats in [0, 1]: x.mul(255).round().byte())" * images.is_floating_point()
        raise InputError(
            f"source: got {images.dtype} of shape {shape}; give uint8 images "
            f"(n, channels, side, side){cure}"
        )
    if shape[3] in (1, 3, 4) and shape[1] == shape[2] > 4:
        raise InputError(
            f"source: got images of shape {shape}, their channels last; give "
            "(n, channels, side, side), as by numpy.moveaxis(images, 3, 1)"
        )
    return images.contiguous()


def _stacked(data: Any) -> Tensor:
    rows = (data[i] for i in range(len(data)))
    items = (row[0] if isinstance(row, (tuple, list)) else row for row in rows)
    return torch.stack(
        [_of_pil(x) if hasattr(x, "getbands") else torch.as_tensor(x) for x in items]
    )


def _of_pil(image: Any) -> Tensor:
    """A picture of PIL as (channels, height, width) bytes."""
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def to_unit(images: Tensor) -> Tensor:
    """Bytes 0..255 -> float32 in [-1, 1], the range of tanh."""
    return images.to(torch.float32).div_(127.5).sub_(1)
