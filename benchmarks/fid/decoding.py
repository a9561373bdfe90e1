"""Encoded files to pixels, on one core: Pillow, and what ganfast puts in its place."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import numpy as np

from ganfast.bench.case import GANFAST, Case, ErrorOf, Provider, Step, copying
from ganfast.metrics.images.decode import Decoder
from ganfast.metrics.images.fast_decode import fast_decoder


def encoded(kind: str, side: int, count: int) -> list[bytes]:
    """Smooth pictures with some noise, as files of that format."""
    from PIL import Image

    draw = np.random.default_rng(0)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
        noisy = (smooth + draw.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(noisy).save(file, kind, **({} if kind == "PNG" else {"quality": 90}))
        files.append(file.getvalue())
    return files


def decoding(kind: str, side: int, count: int = 64) -> Case:
    """``count`` files of ``kind``; ganfast's is Pillow too where nothing else is installed."""

    def by(decoder: str) -> Provider:
        def make(files: list[bytes]) -> Step:
            own = Decoder(decoder=decoder)
            return lambda: [own.decode(data, "") for data in files]

        return Provider(make, 0.0)

    def error_of(files: list[bytes]) -> ErrorOf:
        right = [Decoder(decoder="pillow").decode(data, "") for data in files]

        def error(_: str, found: list[Any]) -> float:
            """The share of files in which any pixel differs."""
            pairs = zip(found, right, strict=True)
            return sum(not np.array_equal(x, y) for x, y in pairs) / len(right)

        return error

    served = fast_decoder(kind)
    pixels = 3 * side * side * count
    return Case(
        name=f"decode-{kind.lower()}-{side}",
        section="Decoding, on one core",
        label=f"{count} {kind} of {side} x {side}, by {served.name if served else 'Pillow'}",
        inputs=lambda device, seed: (encoded(kind, side, count),),
        providers={"Pillow": by("pillow"), GANFAST: by("auto")},
        error_of=error_of,
        limit=partial(copying, 2 * pixels, float(pixels)),
        items=count,
        rotates=False,
    )
