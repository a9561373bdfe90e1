"""Images that an iterable gives, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.images.batch import Batch, BatchStream, images_of
from ganfast.metrics.images.decode import DecodeError, Decoder
from ganfast.metrics.images.layout import as_tensor, channels_axis, check_dtype, to_rgb
from ganfast.metrics.images.source import ImageSource, fingerprint


class StreamImages(ImageSource):
    """The images of an iterable, or of the iterator that a function returns, in its order.

    An item is a batch (4 axes) or one image (3 axes): a tensor or array; a PIL image; a tuple or
    list that begins with one of these, as data loaders give; a dict with ``images`` or ``image``; a
    list of nothing but single images. Whatever the items' sizes, the batches have ``batch_size``.
    With several ranks each iterates over all of it.
    """

    resumable = False

    def __init__(self, make: Callable[[], Iterable[Any]], name: str, background: str) -> None:
        self._make = make
        self._background = background
        self.name = name
        self.count = None
        self.ignored: dict[str, int] = {}
        self.fingerprint = fingerprint("stream", [])

    def _batches(self, size: int, workers: int, first: int, step: int) -> BatchStream:
        waiting: list[Tensor] = []
        number = total = 0

        def batch(images: list[Tensor]) -> Batch:
            start = number * size
            return Batch(number, images_of(images), list(range(start, start + len(images))))

        for image in self._images():
            waiting.append(image)
            total += 1
            if len(waiting) == size:
                full, waiting = waiting, []
                if (number - first) % step == 0 and number >= first:
                    yield batch(full)
                number += 1
        if not total:
            raise InputError(
                f"{self.name}: got no images from the iterable; an iterator can be read only once: "
                "give a function that makes a new one"
            )
        if waiting and (number - first) % step == 0 and number >= first:
            yield batch(waiting)

    def _images(self) -> Iterator[Tensor]:
        for item in _iterate(self._make()):
            for part in self._parts(item):
                yield from self._rgb(part)

    def _parts(self, item: Any) -> list[Any]:
        """The arrays of images in one item."""
        if isinstance(item, Mapping):
            for key in ("images", "image"):
                if key in item:
                    return self._parts(item[key])
            raise InputError(
                f"{self.name}: got a batch that is a dict with the keys "
                f"{', '.join(map(str, item)) or 'none'}; give it images or image"
            )
        if isinstance(item, list) and item and all(_is_one_image(part) for part in item):
            return item
        if isinstance(item, (tuple, list)):
            if not item:
                raise InputError(
                    f"{self.name}: got an empty {type(item).__name__} as a batch; give images"
                )
            return self._parts(item[0])
        return [item]

    def _rgb(self, images: Any) -> Tensor:
        if _is_pillow(images):
            try:
                return as_tensor(Decoder(self._background).pixels(images))[None]
            except DecodeError as error:
                raise InputError(f"{self.name}: got an image that can't be used: {error}") from None
        if not isinstance(images, (Tensor, np.ndarray)):
            raise InputTypeError(
                f"{self.name}: got a {type(images).__name__} as a batch; give tensors, arrays "
                "or PIL images"
            )
        check_dtype(images.dtype, self.name)
        if images.ndim == 3:
            images = images[None]
        if images.ndim == 4 and not len(images):
            return as_tensor(images)
        axis = channels_axis(tuple(images.shape), self.name)
        rgb = to_rgb(as_tensor(images), axis)
        if isinstance(images, Tensor) and rgb.data_ptr() == images.data_ptr():
            return rgb.clone()  # some generators fill one tensor again and again
        return rgb


def _iterate(items: Any) -> Iterator[Any]:
    if isinstance(items, Iterable):
        yield from items
    else:  # a map-style dataset: not every one ends with IndexError
        yield from (items[i] for i in range(len(items)))


def _is_one_image(item: Any) -> bool:
    return _is_pillow(item) or (isinstance(item, (Tensor, np.ndarray)) and item.ndim == 3)


def _is_pillow(item: Any) -> bool:
    return type(item).__module__.partition(".")[0] == "PIL" and hasattr(item, "getbands")
