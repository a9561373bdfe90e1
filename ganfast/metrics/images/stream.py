"""Images that an iterable gives, batch by batch."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, default_collate, default_convert

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.images.batch import Batch, BatchStream, images_of
from ganfast.metrics.images.decode import DecodeError, Decoder
from ganfast.metrics.images.formats import IMAGE_ENDINGS
from ganfast.metrics.images.layout import as_tensor, channels_axis, check_uint8, to_rgb
from ganfast.metrics.images.source import ImageSource, fingerprint

USUAL_KEYS = frozenset(
    ("images", "image", "imgs", "img", "pixel_values")  # Hugging Face's data sets and processors
    + tuple(ending[1:] for ending in IMAGE_ENDINGS if ending != ".npy")  # WebDataset's
)
"""What the images in a dict are called, in lower case."""

LABEL_KEYS = frozenset(("label", "labels", "class", "cls", "target", "targets", "y"))
"""What the classes of images in a dict are called, in lower case."""


@dataclass(frozen=True)
class Beginning:
    """Of an iteration: sha256 hex of its first images; the sampler that gives each process a share
    of its own, if there is one, and among how many; whether a sampler shuffles."""

    digest: str
    sharded_by: str | None
    shares: int
    shuffled: bool


class StreamImages(ImageSource):
    """The images of an iterable, or of the iterator that a function returns, in its order.

    An item is a batch (4 axes), or one image (3 axes, a PIL image, or the bytes of a file), or a
    dict of which ``key`` has these; without it, the only one of its keys that is in USUAL_KEYS. A
    tuple, and a list that has anything but single images, begins with its images: labels follow,
    or the other half of a pair. A list of nothing but single images is a batch.

    Where a DataLoader makes the batches (torch's own collate_fn), an item of 3 axes is refused: it
    is a batch of gray images without their axis of channels. Where it makes none (batch_size=None),
    it gives the dataset's tuples as lists: there a list begins with its images, too. A tuple, or
    there a list, of more than two images could be a batch as well, and is refused. Whatever the
    items' sizes, the batches have ``batch_size``.
    With several ranks each iterates over all of it and keeps its own batches; where ``sharded``,
    each rank's iterable gives a share of its own, of which all is kept.
    """

    resumable = False

    def __init__(
        self,
        make: Callable[[], Iterable[Any]],
        name: str,
        background: str,
        key: str | None = None,
    ) -> None:
        self._make = make
        self._key = key
        self._background = background
        self.name = name
        self.count = None
        self.ignored: dict[str, int] = {}
        self.fingerprint = fingerprint("stream", [])
        self.sharded = False
        self.labelled = False
        """Whether each image is to come with its class: what follows the images in a tuple, or has
        ``label_key`` in a dict."""
        self.label_key: str | None = None
        self._labels: deque[int | str] = deque()
        self.total = 0
        """Images that the last iteration gave."""
        self._begun: Iterator[Tensor] | None = None

    def begin(self, size: int) -> Beginning:
        """Begin the next iteration early, and say what there is to know of it."""
        self._labels.clear()
        items = self._make()
        images = self._images(items)
        head = list(itertools.islice(images, size))
        self._begun = itertools.chain(head, images)
        batches = getattr(items, "batch_sampler", None)
        samplers = (getattr(items, "sampler", None), batches, getattr(batches, "sampler", None))
        sharding = next((one for one in samplers if _shares(one) > 1), None)
        shuffled = any(isinstance(one, RandomSampler) for one in samplers)
        by = None if sharding is None else _named(sharding)
        return Beginning(digest_of(head), by, _shares(sharding), shuffled)

    def _batches(self, size: int, workers: int, first: int, step: int) -> BatchStream:
        waiting: list[Tensor] = []
        labels: list[int | str] = []
        number = 0
        if self._begun is None:
            self._labels.clear()
        images, self._begun = self._begun or self._images(self._make()), None
        self.total = 0
        if self.sharded:  # of which the numbers and positions lie between the other ranks'
            rank, ranks, first, step = first, step, 0, 1
        else:
            rank, ranks = 0, 1

        def batch(images: list[Tensor]) -> Batch:
            start = number * size
            positions = [rank + ranks * i for i in range(start, start + len(images))]
            own = list(labels) if self.labelled else None
            return Batch(rank + ranks * number, images_of(images), positions, labels=own)

        for image in images:
            waiting.append(image)
            if self.labelled:
                labels.append(self._labels.popleft())
            self.total += 1
            if len(waiting) == size:
                full, waiting = waiting, []
                if (number - first) % step == 0 and number >= first:
                    yield batch(full)
                labels.clear()
                number += 1
        if not self.total and not self.sharded:
            raise InputError(
                f"{self.name}: got no images from the iterable; an iterator can be read only once: "
                "give a function that makes a new one"
            )
        if waiting and (number - first) % step == 0 and number >= first:
            yield batch(waiting)

    def _images(self, items: Iterable[Any]) -> Iterator[Tensor]:
        collated = isinstance(items, DataLoader) and items.collate_fn is default_collate
        converted = isinstance(items, DataLoader) and items.collate_fn is default_convert
        for item in _iterate(items):
            found: list[Tensor] = []
            for part in self._parts(item, converted):
                if collated and getattr(part, "ndim", 4) == 3:
                    raise InputError(
                        f"{self.name}: got a batch of shape {tuple(part.shape)} from a DataLoader; "
                        "give images with an axis of channels, (n, 1, h, w) where they are gray"
                    )
                found.extend(self._rgb(part))
            if self.labelled:
                self._labels.extend(self._labels_of(item, len(found)))
            yield from found

    def _labels_of(self, item: Any, count: int) -> list[int | str]:
        """The classes of the images of one item."""
        beside: Any = None
        if isinstance(item, Mapping):
            usual = [key for key in item if str(key).lower() in LABEL_KEYS]
            key = self.label_key or (usual[0] if len(usual) == 1 else None)
            if key is None or key not in item:
                raise InputError(
                    f"label_key: got {self.label_key!r}, and a batch of {self.name} has the keys "
                    f"{', '.join(map(str, item))}; say which has the labels"
                )
            beside = item[key]
        elif isinstance(item, (tuple, list)) and len(item) > 1 and not _is_images(item[1]):
            beside = item[1]
        if beside is None:
            raise InputError(
                f"per_class: got a batch of {self.name} without labels; give (images, labels), or "
                "a dict with label"
            )
        labels = list(_flat(beside))
        wrong = [type(label).__name__ for label in labels if not isinstance(label, (int, str))]
        if wrong or len(labels) != count:
            got = f"a label that is a {wrong[0]}" if wrong else f"{len(labels)} labels"
            raise InputError(
                f"per_class: got {got} for {count} images of {self.name}; give a whole number or a "
                "name for each"
            )
        return labels

    def _parts(self, item: Any, converted: bool) -> list[Any]:
        """The arrays of images in one item; ``converted`` where a list may have been a tuple."""
        if isinstance(item, Mapping):
            if isinstance(item.get("bytes"), bytes):  # a data set's image that is not decoded
                return [item["bytes"]]
            found = item[self._key_of(item)]
            if isinstance(found, list) and found and all(isinstance(x, Mapping) for x in found):
                return [part for one in found for part in self._parts(one, converted)]
            return self._parts(found, converted)
        if isinstance(item, list) and item and all(map(_is_one_image, item)) and not converted:
            return item
        if isinstance(item, (tuple, list)):
            if not item:
                raise InputError(
                    f"{self.name}: got an empty {type(item).__name__} as a batch; give images"
                )
            if len(item) > 2 and all(map(_is_images, item)):
                raise InputError(
                    f"{self.name}: got a {type(item).__name__} of {len(item)} images, which could "
                    "be a batch or one image with others that belong to it; give a stacked tensor "
                    "(n, c, h, w), or the images alone"
                )
            return self._parts(item[0], converted)
        return [item]

    def _key_of(self, item: Mapping[Any, Any]) -> Any:
        """Which of its keys has the images."""
        usual = [key for key in item if str(key).lower() in USUAL_KEYS]
        if self._key is None and len(usual) == 1:
            return usual[0]
        if self._key is not None and self._key in item:
            return self._key
        keys = ", ".join(map(str, item)) or "none"
        if self._key is not None:
            near = _checks.suggestion(self._key, map(str, item))
            raise InputError(
                f"key: got {self._key!r}, and a batch of {self.name} has the keys {keys}; give one "
                f"of them{near}"
            )
        several = f", of which {', '.join(map(str, usual))} could be images" if usual else ""
        cure = "" if usual else "give it images or image, or "
        raise InputError(
            f"{self.name}: got a batch that is a dict with the keys {keys}{several}; {cure}say "
            "which has the images by key=..."
        )

    def _rgb(self, images: Any) -> Tensor:
        if _is_pillow(images) or isinstance(images, bytes):
            decoder = Decoder(self._background)
            try:
                encoded = isinstance(images, bytes)
                pixels = decoder.decode(images, "") if encoded else decoder.pixels(images)
                return as_tensor(pixels)[None]
            except DecodeError as error:
                raise InputError(f"{self.name}: got an image that can't be used: {error}") from None
        if not isinstance(images, (Tensor, np.ndarray)):
            raise InputTypeError(
                f"{self.name}: got a {type(images).__name__} as a batch; give tensors, arrays "
                "or PIL images"
            )
        check_uint8(images, self.name)
        if images.ndim == 3:
            images = images[None]
        if images.ndim == 4 and not len(images):
            return as_tensor(images)
        axis = channels_axis(tuple(images.shape), self.name)
        rgb = to_rgb(as_tensor(images), axis)
        if isinstance(images, Tensor) and rgb.data_ptr() == images.data_ptr():
            return rgb.clone()  # some generators fill one tensor again and again
        return rgb


def digest_of(images: Iterable[Tensor]) -> str:
    """sha256 hex of their shapes and pixels."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{tuple(image.shape)}".encode())
        digest.update(image.contiguous().numpy(force=True).data)
    return digest.hexdigest()


def _iterate(items: Any) -> Iterator[Any]:
    if isinstance(items, Iterable):
        yield from items
    else:  # a map-style dataset: not every one ends with IndexError
        yield from (items[i] for i in range(len(items)))


def _flat(labels: Any) -> Iterator[Any]:
    if isinstance(labels, (Tensor, np.ndarray)):
        yield from labels.reshape(-1).tolist()
    elif isinstance(labels, (list, tuple)):
        for one in labels:
            yield from _flat(one)
    else:
        yield labels.item() if isinstance(labels, np.generic) else labels


def _shares(sampler: Any) -> int:
    """Among how many processes torch's DistributedSampler divides the images, or what behaves like
    one: accelerate's, timm's; 1 for any other sampler."""
    found = (getattr(sampler, name, 1) for name in ("num_replicas", "num_processes"))
    return max(one if isinstance(one, int) else 1 for one in found)


def _named(sampler: Any) -> str:
    name = type(sampler).__name__
    try:
        repeated = sampler.total_size - len(sampler.dataset)
    except (AttributeError, TypeError):
        return name
    return name if repeated <= 0 else f"{name} (with {repeated} repeated, to make shares equal)"


def _is_one_image(item: Any) -> bool:
    if isinstance(item, (Tensor, np.ndarray)):
        return item.ndim == 3
    return _is_pillow(item) or isinstance(item, bytes)


def _is_images(item: Any) -> bool:
    return _is_one_image(item) or (isinstance(item, (Tensor, np.ndarray)) and item.ndim == 4)


def _is_pillow(item: Any) -> bool:
    return type(item).__module__.partition(".")[0] == "PIL" and hasattr(item, "getbands")
