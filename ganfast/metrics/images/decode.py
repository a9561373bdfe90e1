"""One encoded image -> RGB pixels. Every choice that changes a pixel is made here."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganfast import _checks
from ganfast.errors import InputError, one_line
from ganfast.metrics.choices import BACKGROUNDS, DECODERS
from ganfast.metrics.images.fast_decode import PNG, fast_decoder, fast_pixels
from ganfast.metrics.images.formats import FAST_KINDS, PILLOW_FORMATS


class DecodeError(Exception):
    """Why this file gives no image."""


@dataclass(frozen=True)
class Decoder:
    """Decodes to uint8 (h, w, 3).

    * Grayscale and bilevel: repeated over the channels. Palette: looked up.
    * Transparency (RGBA, LA, a palette's, one transparent colour): composited on ``background``,
      255ths rounded to nearest: round((alpha * colour + (255 - alpha) * background) / 255).
    * 16-bit gray: round(value / 257), so 0..65535 becomes 0..255, neither clipped nor cut. 32-bit
      integer gray: the same where all values lie in 0..65535 (this is how Pillow gives 16-bit PGM),
      refused otherwise. Floating point: refused, since no file says which value is white.
    * 16-bit RGB(A), and gray with alpha: as Pillow reads them, in PNG and TIFF the high byte.
    * CMYK and YCbCr: Pillow's formulas. ICC profiles are not applied (no FID tool does).
    * EXIF orientation: applied if ``exif``. Pillow itself applies a TIFF's in any case.
    * Animated: the first frame.
    * JPEG at full size always (Pillow's draft mode would change pixels).
    * A file cut short is an error even where PIL.ImageFile.LOAD_TRUNCATED_IMAGES was set, since the
      rest of it would be gray. So is one of more than ``max_pixels``, by default twice
      PIL.Image.MAX_IMAGE_PIXELS; 0 is no limit.
    * Plain files of some formats are decoded by what fast_decode.py has, to the same pixels, unless
      ``decoder`` is "pillow".
    * Of a PNG whose profile or texts Pillow refuses, the pixels are read without them.

    Raises:
        ValueError: (an InputError) an unknown ``background`` or ``decoder``, or no Pillow.
    """

    background: str = "white"
    exif: bool = False
    max_pixels: int | None = None
    decoder: str = "auto"

    def __post_init__(self) -> None:
        _checks.one_of("background", self.background, BACKGROUNDS)
        _checks.one_of("decoder", self.decoder, DECODERS)
        if self.max_pixels is not None:
            _checks.integer("max_pixels", self.max_pixels, least=0)
        _pillow_formats()  # before workers are forked, that what it loads is loaded once

    def decode(self, data: bytes, name: str) -> np.ndarray:
        """``data`` of a file called ``name`` -> (h, w, 3) uint8. Raises DecodeError."""
        if not data:
            raise DecodeError("the file is empty (0 bytes)")
        if name.lower().endswith(".npy"):
            return self._array(data)
        if self.decoder == "auto":
            found = fast_pixels(data, self._most_pixels(), self.exif)
            if found is not None:
                return found
        image_module = _pillow()
        try:
            try:
                with self._open(data) as image:
                    return self.pixels(image)
            except (ValueError, SyntaxError, image_module.UnidentifiedImageError):
                bare = _without_metadata(data)
                if bare is None:
                    raise
                with self._open(bare) as image:
                    return self.pixels(image)
        except image_module.UnidentifiedImageError:
            raise DecodeError(_what_else(data)) from None
        except image_module.DecompressionBombError as error:
            raise DecodeError(
                f"too large to be safe: {error}; if it is meant, give --max-pixels N (max_pixels=N)"
            ) from None
        except MemoryError:
            raise DecodeError("memory did not suffice to decode it") from None
        except DecodeError:
            raise
        except Exception as error:  # a damaged file: Pillow's plugins raise nearly every type
            raise DecodeError(one_line(error)) from None

    def beside_pillow(self, endings: Iterable[str]) -> dict[str, str]:
        """The other decoders that serve files of these endings: format -> package and version."""
        if self.decoder != "auto":
            return {}
        kinds = {FAST_KINDS[each] for each in endings if each in FAST_KINDS}
        found = {kind: fast_decoder(kind) for kind in sorted(kinds)}
        return {kind: each.name for kind, each in found.items() if each is not None}

    def _most_pixels(self) -> float:
        """Of a file that is not too large to be safe."""
        most = _pillow().MAX_IMAGE_PIXELS
        if self.max_pixels is None:
            return math.inf if most is None else 2.0 * most
        return self.max_pixels or math.inf

    def pixel_bytes(self, data: bytes, name: str) -> int:
        """How many bytes ``decode`` would give, from the header alone. Raises nearly anything for a
        damaged file."""
        if name.lower().endswith(".npy"):
            return len(data)
        with self._open(data) as image:
            return int(image.width * image.height * 3)

    @contextmanager
    def _open(self, data: bytes) -> Iterator[Any]:
        """Pillow's image of ``data``, with this object's limits in place of the program's."""
        image_module = _pillow()
        from PIL import ImageFile

        before = ImageFile.LOAD_TRUNCATED_IMAGES, image_module.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        if self.max_pixels is not None:  # Pillow raises above twice its number
            image_module.MAX_IMAGE_PIXELS = self.max_pixels / 2 if self.max_pixels else None
        try:
            with warnings.catch_warnings():
                # About metadata, or an image between one and two times the limit: it is read.
                warnings.simplefilter("ignore")
                with image_module.open(io.BytesIO(data), formats=_pillow_formats()) as image:
                    yield image
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, image_module.MAX_IMAGE_PIXELS = before

    def pixels(self, image: Any) -> np.ndarray:
        """A PIL.Image.Image -> (h, w, 3) uint8."""
        transparent = _transparent_colour(image)
        image.load()
        if self.exif:
            from PIL import ImageOps

            ImageOps.exif_transpose(image, in_place=True)
        mode = image.mode
        if mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
            return self._wide_gray(np.asarray(image), transparent)
        if mode == "F":
            raise DecodeError(
                "its pixels are floating point, with no range that a file could state: save it "
                "with 8 or 16 bits"
            )
        if mode in ("1", "L") and transparent is None:
            return _repeated(np.asarray(image.convert("L")))
        if transparent is not None:
            image.info["transparency"] = transparent
        palette_alpha = mode in ("P", "PA") and image.palette and image.palette.mode == "RGBA"
        if transparent is not None or palette_alpha or mode in ("RGBA", "LA", "La", "RGBa", "PA"):
            return self._flat(np.asarray(image.convert("RGBA")))
        return np.asarray(image if mode == "RGB" else image.convert("RGB"))

    def _array(self, data: bytes) -> np.ndarray:
        try:
            array = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception as error:
            raise DecodeError(f"not an .npy file that NumPy can read: {error}") from None
        shape = array.shape
        if array.dtype != np.uint8 or len(shape) not in (2, 3) or 0 in shape:
            raise DecodeError(
                f"an .npy image of {array.dtype} {tuple(shape)}; save it as uint8 (h, w, 3)"
            )
        channels = shape[2] if len(shape) == 3 else 1
        if channels == 1:
            return _repeated(array.reshape(shape[:2]))
        if channels == 3:
            return array
        if channels == 4:
            return self._flat(array)
        raise DecodeError(f"an .npy image {tuple(shape)}; save it with 1, 3 or 4 channels last")

    def _wide_gray(self, gray: np.ndarray, transparent: Any) -> np.ndarray:
        low, high = int(gray.min()), int(gray.max())
        if low < 0 or high > 65535:
            raise DecodeError(
                f"its 32-bit values go from {low} to {high}, and only 0 to 65535 have a meaning "
                "here: save it with 8 or 16 bits"
            )
        scaled = ((gray.astype(np.uint32) + 128) // 257).astype(np.uint8)
        if transparent is None:
            return _repeated(scaled)
        alpha = np.where(gray == transparent, 0, 255).astype(np.uint8)
        return self._flat(np.dstack([scaled, scaled, scaled, alpha]))

    def _flat(self, rgba: np.ndarray) -> np.ndarray:
        # 255 is odd, so nothing lies halfway and + 127 rounds to nearest; all fits 16 bits.
        colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
        total = colour * alpha + (255 - alpha) * BACKGROUNDS[self.background]
        return ((total + 127) // 255).astype(np.uint8)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise InputError("reading images needs Pillow; pip install 'ganfast[fid]'") from None
    return Image


def _transparent_colour(image: Any) -> Any:
    """What an image not yet loaded says is transparent: a gray value, a colour, or a palette's
    alphas, in the depth that its pixels will have; None if nothing."""
    transparent = image.info.get("transparency")
    raw_mode = str(image.tile[0][3]) if getattr(image, "tile", None) else ""
    # Pillow spreads the pixels over 8 bits, and leaves this as it stands in the file.
    if raw_mode in ("L;2", "L;4") and isinstance(transparent, int):
        return transparent * {"L;2": 85, "L;4": 17}[raw_mode]
    if raw_mode.startswith("RGB;16") and isinstance(transparent, tuple):
        return tuple(value >> 8 for value in transparent)
    return transparent


def _pillow_formats() -> tuple[str, ...]:
    """Those of PILLOW_FORMATS that this Pillow reads."""
    image_module = _pillow()
    image_module.init()  # loads its plugins in the first call
    return tuple(name for name in PILLOW_FORMATS if name in image_module.OPEN)


def _without_metadata(data: bytes) -> bytes | None:
    """A PNG without its colour profile and texts, which don't touch its pixels here; None for what
    is no PNG, or has none of them."""
    if not data.startswith(PNG):
        return None
    kept, at = [PNG], len(PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in (b"iCCP", b"zTXt", b"iTXt", b"tEXt"):
            kept.append(data[at:end])
        at = end
    bare = b"".join([*kept, data[at:]])
    return bare if len(bare) < len(data) else None


def _repeated(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)


def _what_else(data: bytes) -> str:
    head = data[:128]
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the image itself: run git lfs pull"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "a HEIF (HEIC) photograph, which is not read here: convert it to JPEG or PNG"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return "holds text, not an image"
    return "not an image, or of a format that is not read here"
