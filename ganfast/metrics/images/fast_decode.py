"""Other decoders than Pillow, for the plainest files of a format, if they give the same pixels.

simplejpeg reads JPEG, imagecodecs PNG and WebP. Neither is asked for by ganfast: where one is
installed it is tried once in each process, on pictures that Pillow encodes in all the ways that
count as plain, and has to give Pillow's pixels, every one, and to refuse a file cut short. (That is
why imagecodecs reads no JPEG: it fills up what is missing.) All other files are Pillow's, and so is
every file that one of these refuses: what is said of a damaged file does not depend on them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN_CHUNKS = (b"IHDR", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"tIME")
_SAMPLINGS = ((0x11, 0x11, 0x11), (0x21, 0x11, 0x11), (0x22, 0x11, 0x11))
"""4:4:4, 4:2:2 and 4:2:0, as the bytes of a JPEG have them."""

_PLAIN_SEGMENTS = {0xC0, 0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xEE), 0xEF}
"""Of a JPEG: a baseline head, tables, comments and applications' data; but not Adobe's, which may
mean RGB or CMYK, nor any other head: progressive, lossless, arithmetic."""


class FastDecoder(NamedTuple):
    """Decodes the plain files of one format."""

    name: str
    """Package and version."""
    pixels: Callable[[bytes], np.ndarray]
    """The bytes of a file -> (h, w, 3) uint8. Raises anything."""


def fast_pixels(data: bytes, most: float, exif: bool) -> np.ndarray | None:
    """The pixels (h, w, 3) of a plain file of up to ``most`` pixels, or None: leave it to Pillow.

    With ``exif`` a JPEG that has EXIF data is not plain.
    """
    for kind, plain in _PLAIN.items():
        size = plain(data, exif)
        if size is None:
            continue
        decoder = fast_decoder(kind)
        if decoder is None or size[0] * size[1] > most:
            return None
        try:
            found = decoder.pixels(data)
        except Exception:  # Pillow may read it all the same, or says what is wrong
            return None
        return found if found.shape == (*size, 3) and found.dtype == np.uint8 else None
    return None


@cache
def fast_decoder(kind: str) -> FastDecoder | None:
    """The one for "JPEG", "PNG" or "WEBP" that is installed and right, or None."""
    package, made = _CANDIDATES[kind]
    try:
        decoder = FastDecoder(f"{package} {importlib.metadata.version(package)}", made())
        return decoder if all(_same(decoder, *probe) for probe in _probes(kind)) else None
    except Exception:  # missing, of another signature, or of no use with what else is installed
        return None


def _same(decoder: FastDecoder, data: bytes, wanted: np.ndarray | None) -> bool:
    """Whether it gives the pixels ``wanted``; None: whether it refuses the file."""
    try:
        found = decoder.pixels(data)
    except Exception:
        return wanted is None
    return wanted is not None and found.dtype == np.uint8 and np.array_equal(found, wanted)


def _simplejpeg() -> Callable[[bytes], np.ndarray]:
    module: Any = importlib.import_module("simplejpeg")
    return partial(module.decode_jpeg, colorspace="RGB", fastdct=False, fastupsample=False)


def _imagecodecs(name: str) -> Callable[[bytes], np.ndarray]:
    module: Any = importlib.import_module("imagecodecs")
    decode: Callable[[bytes], np.ndarray] = getattr(module, name)
    return decode


_CANDIDATES: dict[str, tuple[str, Callable[[], Callable[[bytes], np.ndarray]]]] = {
    "JPEG": ("simplejpeg", _simplejpeg),
    "PNG": ("imagecodecs", partial(_imagecodecs, "png_decode")),
    "WEBP": ("imagecodecs", partial(_imagecodecs, "webp_decode")),
}


def _probes(kind: str) -> Iterator[tuple[bytes, np.ndarray | None]]:
    """Files of small pictures, with their pixels by Pillow; and one cut short, with None."""
    from PIL import Image

    draw = np.random.default_rng(0)
    ways: list[dict[str, Any]] = [{}]
    if kind == "JPEG":
        ways = [{"quality": q, "subsampling": s} for q in (60, 95) for s in (0, 1, 2)]
    if kind == "WEBP":
        ways = [{"quality": q} for q in (50, 95)]
    for height, width in ((29, 37), (64, 50), (1, 3)):
        coarse = draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height)))
        noisy = (smooth + draw.normal(0, 20, smooth.shape)).clip(0, 255).astype(np.uint8)
        for way in ways:
            file = io.BytesIO()
            Image.fromarray(noisy).save(file, kind, **way)
            with Image.open(file, formats=(kind,)) as image:
                yield file.getvalue(), np.asarray(image.convert("RGB"))
            if height > 1:
                yield file.getvalue()[: 2 * len(file.getvalue()) // 3], None


def _plain_jpeg(data: bytes, exif: bool) -> tuple[int, int] | None:
    """Height and width of a baseline JPEG in YCbCr of a usual sampling."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at, size = 2, None
    plain = _PLAIN_SEGMENTS - {0xE1} if exif else _PLAIN_SEGMENTS
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:  # the pixels
            return size
        if marker not in plain:
            return None
        if marker == 0xC0:
            body = data[at + 4 : end]
            if body[:1] != b"\x08" or len(body) != 15 or body[6:15:3] != b"\x01\x02\x03":
                return None
            if tuple(body[7:15:3]) not in _SAMPLINGS:
                return None
            size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        at = end
    return None


def _plain_png(data: bytes, _: bool) -> tuple[int, int] | None:
    """Height and width of a PNG of 8-bit RGB, not interlaced, with nothing that tells more."""
    if not data.startswith(PNG) or data[24:29] != b"\x08\x02\x00\x00\x00":
        return None
    at, kind = len(PNG), b""
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind not in _PLAIN_CHUNKS:
            return None
        # Of all others than the pixels Pillow checks it, and libpng not of all.
        check = int.from_bytes(data[end - 4 : end], "big")
        if kind != b"IDAT" and zlib.crc32(data[at + 4 : end - 4]) != check:
            return None
        at = end
    if kind != b"IEND" or at != len(data):
        return None
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def _plain_webp(data: bytes, _: bool) -> tuple[int, int] | None:
    """Height and width of a lossy WebP that is a single picture without more."""
    plain = data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8 " and data[23:26] == b"\x9d\x01\x2a"
    if not plain or int.from_bytes(data[4:8], "little") + 8 != len(data):
        return None
    width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    return height, width


_PLAIN: dict[str, Callable[[bytes, bool], tuple[int, int] | None]] = {
    "JPEG": _plain_jpeg,
    "PNG": _plain_png,
    "WEBP": _plain_webp,
}
