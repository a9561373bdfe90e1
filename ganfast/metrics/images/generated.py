"""Images that a function makes when they are asked for."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.images.batch import BatchStream
from ganfast.metrics.images.stream import Beginning, StreamImages


def is_generator_and_number(source: Any) -> bool:
    """Whether it is a pair (function, N)."""
    return (
        isinstance(source, (tuple, list))
        and len(source) == 2
        and callable(source[0])
        and isinstance(source[1], numbers.Number | Tensor)
        and not isinstance(source[0], Tensor)
    )


def generated(
    pair: Any, num: int | None, name: str, background: str, key: str | None
) -> GeneratedImages:
    """Of such a pair, or InputError; ``num`` in place of its number, if that is not less."""
    function, number = pair
    number = _checks.integer(f"{name}, number of images", number, least=2)
    if num is not None and num > number:
        raise InputError(f"num: got {num}, and {name} has {number} images; give at most that")
    return GeneratedImages(function, num or number, name, background, key)


class GeneratedImages(StreamImages):
    """``number`` images, a batch at a time: ``function(n)`` returns n new ones, in a form that
    StreamImages takes, such as a uint8 tensor (n, 3, h, w). It is called without autograd.

    Where several processes share an evaluation, and the function draws others in each, each makes
    its part of the ``number``.
    """

    stage = "generate"

    def __init__(
        self,
        function: Callable[[int], Any],
        number: int,
        name: str,
        background: str,
        key: str | None = None,
    ) -> None:
        super().__init__(self._drawn, name, background, key)
        self._function = function
        self.count = self._left = number
        self._size = 1

    def begin(self, size: int) -> Beginning:
        self._size = size
        return super().begin(size)

    def _batches(self, size: int, workers: int, first: int, step: int) -> BatchStream:
        assert self.count is not None
        self._size = size
        self._left = len(range(first, self.count, step)) if self.sharded else self.count
        return super()._batches(size, workers, first, step)

    def _drawn(self) -> Iterator[Any]:
        made = 0
        while made < self._left:  # which is known after the first batch where processes share
            n = min(self._size, self._left - made)
            with torch.no_grad():
                images = self._function(n)
            if not hasattr(images, "__len__") or len(images) != n:
                got = f"{len(images)}" if hasattr(images, "__len__") else type(images).__name__
                raise InputError(
                    f"{self.name}: got {got} from the function that was asked for {n} images; "
                    f"return {n}"
                )
            if isinstance(images, Tensor) and images.is_cuda:
                torch.cuda.synchronize(images.device)  # so that this time is not the network's
            made += n
            yield images
