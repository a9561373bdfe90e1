"""Pixels as a user has them in arrays -> uint8 (n, h, w, 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError, InputTypeError

ENOUGH = 64
"""Images whose values are looked at before a cure is given."""


def check_uint8(images: Any, what: str) -> None:
    """Raise InputError unless ``images``, of torch or NumPy or an .npz's rows, are uint8."""
    dtype = images.dtype
    if dtype in (torch.uint8, np.dtype(np.uint8)):
        return
    shown = getattr(dtype, "name", str(dtype)).removeprefix("torch.")
    shape = tuple(images.shape)
    cure = ""
    if "float" in shown and shape and 0 not in shape:
        some = images[:ENOUGH]
        if hasattr(images, "close"):
            images.close()
        span = float(some.min()), float(some.max())
        named, expression = usual_range(*span)
        cast = (
            ".round().clamp(0, 255).to(torch.uint8)"
            if isinstance(images, Tensor)
            else ".round().clip(0, 255).astype('uint8')"
        )
        cure = f", of images in {named} by {expression}{cast}"
        if not named:
            cure = f", scaled from their {span[0]:.4g} to {span[1]:.4g}"
    raise InputTypeError(
        f"{what}: got images of {shown}, whose range is not assumed; give uint8, 0 to 255{cure}"
    )


def usual_range(low: float, high: float) -> tuple[str, str]:
    """Which of the usual ranges floats from ``low`` to ``high`` are in, and what brings an ``x`` of
    it to 0..255; "" and "" for none."""
    slack = 0.01
    for least, most, expression in (
        (0, 1, "(x * 255)"),
        (-1, 1, "(x * 127.5 + 127.5)"),
        (0, 255, "x"),
    ):
        if least - slack <= low and high <= most + slack:
            return f"[{least}, {most}]", expression
    return "", ""


def channels_axis(shape: tuple[int, ...], what: str) -> int:
    """Which axis of images (n, h, w, c) or (n, c, h, w) has the 3 channels, or the one of gray: 3
    or 1. Raises InputError if there is none, or both could be."""
    if len(shape) != 4 or 0 in shape[1:]:
        raise InputError(
            f"{what}: got shape {shape}; give images (n, h, w, 3) or (n, 3, h, w), or 1 for the 3 "
            "where they are gray"
        )
    # 3 channels before 1: (n, 1, 28, 3) and (n, 3, 28, 1) are images of one row or column.
    for channels in (3, 1):
        first, last = shape[1] == channels, shape[3] == channels
        if first and last:
            raise InputError(
                f"{what}: got shape {shape}, which could be (n, h, w, c) or (n, c, h, w); give "
                "images wider than their number of channels"
            )
        if first or last:
            return 1 if first else 3
    hint = ", compositing the alpha channel on a background" if 4 in shape[1:4:2] else ""
    raise InputError(f"{what}: got shape {shape}; give images of 3 channels or 1{hint}")


def to_rgb(images: Tensor, axis: int) -> Tensor:
    """uint8 images with their channels on ``axis`` -> contiguous (n, h, w, 3)."""
    if axis == 1:
        images = images.permute(0, 2, 3, 1)
    return images.expand(-1, -1, -1, 3).contiguous()


def as_tensor(array: Any) -> Tensor:
    """A tensor without gradient of the same pixels; a NumPy array is copied."""
    if isinstance(array, Tensor):
        return array.detach()
    return torch.from_numpy(np.array(array))
