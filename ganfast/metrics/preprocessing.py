"""uint8 images to the input of a network, by a protocol: checks and docstring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganfast import _checks
from ganfast._dispatch import serve
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.protocols import Protocol, find_protocol
from ganfast.metrics.staging import Images, on_the_host, parts, sent
from ganfast.reference.preprocess import PreprocessSpec

__all__ = ["preprocess"]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def preprocess(
    images: Tensor | Sequence[Tensor],
    protocol: Protocol | str,
    *,
    size: int | tuple[int, int] = 299,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Images as the network of an FID wants them: resized, scaled and laid out, in one pass.

    out = scale * resize(images) + shift, with what ``protocol`` says. An image that has the size
    already is not resized, as in the tools themselves. Each image of a sequence is resized by
    itself, so their sizes may differ.

    Args:
        images: uint8 RGB, (n, h, w, 3) or a sequence of (h, w, 3), in any layout, as a permuted
            view of (n, 3, h, w), all on one device. n may be 0.
        protocol: one of :data:`ganfast.metrics.protocols.PROTOCOLS`, or its name.
        size: of the output, (height, width) or one number for both.
        device: where to compute; images are moved there as uint8, to a GPU from pinned memory
            without waiting, in one copy for each 256 MiB. By default where they are.
        dtype: float32, bfloat16 or float16. Computed in float32 and rounded once.

    Returns:
        (n, 3, height, width) in channels_last memory format, in the network's units (about
        -1..1). The same bits for any number of threads.

    Raises:
        ValueError: (an InputError) another shape or number of channels; images without pixels or on
            several devices; a size below 1; an unknown protocol.
        TypeError: (an InputTypeError) another dtype; ``images`` that are neither a tensor nor a
            sequence of tensors.

    Example:
        >>> images = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
        >>> preprocess(images, "pytorch-fid").shape
        torch.Size([2, 3, 299, 299])
    """
    row = find_protocol(protocol)
    height, width = _pair(size)
    if dtype not in _DTYPES:
        raise InputTypeError(
            f"dtype: got {dtype}; give torch.float32, torch.bfloat16 or torch.float16"
        )
    images = _checked(images)
    spec = PreprocessSpec(row.resize, row.scale, row.shift, row.clip, height, width)
    to = None if device is None else _checks.device("device", device)
    if to is not None and to.type == "cuda" and on_the_host(images):
        # 256 photographs of 12 megapixels would take 9 GB of the device's memory at once.
        made = [_served(sent(part, to), spec, dtype) for part in parts(images)]
        return made[0] if len(made) == 1 else torch.cat(made)
    if to is not None:
        images = _moved(images, to)
    if not isinstance(images, Tensor) and not images:
        images = torch.empty(0, 1, 1, 3, dtype=torch.uint8, device=to or "cpu")
    return _served(images, spec, dtype)


def _served(images: Images, spec: PreprocessSpec, dtype: torch.dtype) -> Tensor:
    first = images if isinstance(images, Tensor) else images[0]
    out: Tensor = serve("preprocess", (first,)).preprocess(images, spec, dtype)
    return out


def _pair(size: Any) -> tuple[int, int]:
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    try:
        height, width = (_checks.integer("size", side, least=1) for side in pair)
    except ValueError:
        raise InputError(
            f"size: got {size!r}; give a whole number of at least 1, or (height, width)"
        ) from None
    return height, width


def _checked(images: Any) -> Tensor | list[Tensor]:
    """``images``, if they are what they should be; a sequence as a list."""
    if isinstance(images, Tensor):
        _check(images, "images", 4, "(n, h, w, 3)")
        return images
    if not isinstance(images, (list, tuple)):
        raise InputTypeError(
            f"images: got a {type(images).__name__}; give a uint8 tensor (n, h, w, 3) or a "
            "sequence of tensors (h, w, 3)"
        )
    for i, image in enumerate(images):
        if not isinstance(image, Tensor):
            raise InputTypeError(
                f"images[{i}]: got a {type(image).__name__}; give a tensor (h, w, 3)"
            )
        _check(image, f"images[{i}]", 3, "(h, w, 3)")
        if image.device != images[0].device:
            raise InputError(
                f"images[{i}]: got one on {image.device} and images[0] on {images[0].device}; "
                "give them on one device"
            )
    return list(images)


def _check(x: Tensor, name: str, dims: int, wanted: str) -> None:
    shape = x.shape
    if x.dtype is torch.uint8 and len(shape) == dims and shape[-1] == 3 and shape[-2] and shape[-3]:
        return
    if x.dtype is not torch.uint8:
        raise InputTypeError(
            f"{name}: got {x.dtype}; give uint8 pixels 0..255, which are not scaled"
        )
    got = f"{name}: got shape {tuple(shape)}; "
    if len(shape) == dims - 1 or (len(shape) == dims and shape[-1] == 1):
        raise InputError(got + f"give RGB {wanted}: repeat a grey channel three times")
    if len(shape) == dims and shape[-3] == 3 and shape[-1] != 3:
        raise InputError(got + f"give {wanted}: move the channels last by images.movedim(-3, -1)")
    if len(shape) == dims and shape[-1] == 3:
        raise InputError(got + "an image needs at least one pixel")
    raise InputError(got + f"give {wanted}")


def _moved(images: Tensor | list[Tensor], device: torch.device) -> Tensor | Sequence[Tensor]:
    # On the way to the host it has to be waited for: what comes next reads the memory.
    at_once = device.type == "cuda"
    if isinstance(images, Tensor):
        return images.to(device, non_blocking=at_once)
    return [image.to(device, non_blocking=at_once) for image in images]
