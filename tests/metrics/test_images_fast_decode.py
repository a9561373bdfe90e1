"""Decoders beside Pillow: which files they get, and that none serves that is off by one pixel."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ganfast.errors import InputError
from ganfast.metrics.images import fast_decode, open_images
from ganfast.metrics.images.decode import DecodeError, Decoder
from ganfast.metrics.images.fast_decode import fast_decoder, fast_pixels

KINDS = {"JPEG": "simplejpeg", "PNG": "imagecodecs", "WEBP": "imagecodecs"}


def picture(height=40, width=30, seed=0):
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    noisy = np.asarray(coarse.resize((width, height))) + draw.normal(0, 9, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(image=None, kind="JPEG", **options):
    file = io.BytesIO()
    (image or picture()).save(file, kind, **options)
    return file.getvalue()


def by_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


@pytest.fixture(autouse=True)
def tried_anew():
    fast_decoder.cache_clear()
    yield
    fast_decoder.cache_clear()


@pytest.fixture
def installed(monkeypatch):
    """Stand-ins for both packages that ``change`` what Pillow gives; the calls to them."""
    calls = []

    def install(change=lambda x: x, decode=by_pillow):
        def jpeg(data, colorspace, fastdct, fastupsample):
            assert (colorspace, fastdct, fastupsample) == ("RGB", False, False)
            return codec(data)

        def codec(data):
            calls.append(data)
            return change(decode(data))

        codecs = SimpleNamespace(png_decode=codec, webp_decode=codec)
        monkeypatch.setitem(sys.modules, "simplejpeg", SimpleNamespace(decode_jpeg=jpeg))
        monkeypatch.setitem(sys.modules, "imagecodecs", codecs)
        monkeypatch.setattr(fast_decode.importlib.metadata, "version", lambda name: "1.2")
        return calls

    return install


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_gives_pillows_pixels_serves(kind, installed):
    calls = installed()
    data = encoded(kind=kind)
    found = Decoder().decode(data, "a")
    assert np.array_equal(found, by_pillow(data)) and calls[-1] == data
    assert fast_decoder(kind).name == f"{KINDS[kind]} 1.2"
    before = len(calls)
    Decoder().decode(data, "a")
    assert len(calls) == before + 1, "tried once in a process"
    Decoder(decoder="pillow").decode(data, "a")
    assert len(calls) == before + 1


def one_pixel_off(x):
    x[-1, -1, 2] ^= 1
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [one_pixel_off, np.float32, lambda x: x[:, :-1]])
def test_one_that_lies_is_refused(kind, change, installed):
    installed(change)
    assert fast_decoder(kind) is None
    data = encoded(kind=kind)
    assert np.array_equal(Decoder().decode(data, "a"), by_pillow(data))


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_fills_up_what_is_missing_is_refused(kind, installed):
    def lenient(data):
        try:
            return by_pillow(data)
        except OSError:
            return np.zeros((29, 37, 3), np.uint8)

    installed(decode=lenient)
    assert fast_decoder(kind) is None


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_packages_there_is_none(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, KINDS[kind], None)
    assert fast_decoder(kind) is None


def exif(image):
    found = Image.Exif()
    found[0x0112] = 6
    return {"exif": found.tobytes()}


def with_chunk(name, body, *, check=None):
    """A PNG with one more chunk after its head."""
    data = encoded(kind="PNG")
    crc = fast_decode.zlib.crc32(name + body) if check is None else check
    chunk = len(body).to_bytes(4, "big") + name + body + crc.to_bytes(4, "big")
    return data[:33] + chunk + data[33:]


def bitmap(mode):
    return picture().convert(mode)


def see_through():
    image = picture()
    image.putalpha(image.convert("L"))
    return image


def not_plain():
    wide = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(40, 30))
    frames = {"save_all": True, "append_images": [picture(seed=1)]}
    return {
        "gray JPEG": encoded(bitmap("L")),
        "CMYK JPEG": encoded(bitmap("CMYK")),
        "progressive JPEG": encoded(progressive=True),
        "RGB JPEG": encoded(keep_rgb=True),
        "JPEG without end of its head": encoded()[:200],
        "palette PNG": encoded(bitmap("P"), "PNG"),
        "gray PNG": encoded(bitmap("L"), "PNG"),
        "16-bit PNG": encoded(wide, "PNG"),
        "PNG with alpha": encoded(see_through(), "PNG"),
        "PNG with a transparent colour": encoded(kind="PNG", transparency=(1, 2, 3)),
        "animated PNG": encoded(kind="PNG", **frames),
        "PNG with a profile": encoded(kind="PNG", icc_profile=b"x" * 200),
        "PNG with an unknown chunk": with_chunk(b"abCd", b"1"),
        "PNG with a wrong sum": with_chunk(b"pHYs", bytes(9), check=1),
        "PNG without its end": encoded(kind="PNG")[:-12],
        "PNG with more behind it": encoded(kind="PNG") + b"abc",
        "lossless WebP": encoded(kind="WEBP", lossless=True),
        "WebP with alpha": encoded(see_through(), "WEBP"),
        "animated WebP": encoded(kind="WEBP", **frames),
        "WebP cut short": encoded(kind="WEBP")[:-5],
        "GIF": encoded(kind="GIF"),
        "BMP": encoded(kind="BMP"),
    }


@pytest.mark.parametrize("what", not_plain())
def test_what_is_not_plain_is_pillows(what, installed):
    calls = installed()
    data = not_plain()[what]
    assert fast_pixels(data, np.inf, False) is None and data not in calls


def test_exif_is_pillows_where_it_counts(installed):
    calls = installed()
    data = encoded(**exif(None))
    turned = Decoder(exif=True).decode(data, "a")
    assert turned.shape == (30, 40, 3) and data not in calls
    assert Decoder().decode(data, "a").shape == (40, 30, 3) and data in calls


def test_large_files_are_refused_as_ever(installed):
    calls = installed()
    data = encoded()
    with pytest.raises(DecodeError, match="too large to be safe"):
        Decoder(max_pixels=500).decode(data, "a")
    assert data not in calls
    assert Decoder(max_pixels=0).decode(data, "a").shape == (40, 30, 3) and data in calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_told_of_as_ever(kind, installed):
    installed()
    data = encoded(kind=kind)
    broken = data[: len(data) // 2]
    said = []
    for name in ("auto", "pillow"):
        with pytest.raises(DecodeError) as error:
            Decoder(decoder=name).decode(broken, "a")
        said.append(str(error.value))
    assert said[0] == said[1]


def test_a_source_names_them(installed, tmp_path):
    installed()
    for kind, name in (("JPEG", "a.jpg"), ("JPEG", "b.JPEG"), ("GIF", "c.gif")):
        (tmp_path / name).write_bytes(encoded(kind=kind))
    assert open_images(tmp_path).decoders == {"JPEG": "simplejpeg 1.2"}
    assert open_images(tmp_path, decoder="pillow").decoders == {}
    assert open_images(np.zeros((2, 4, 4, 3), np.uint8)).decoders == {}
    with pytest.raises(InputError, match="decoder: got 'fast'"):
        open_images(tmp_path, decoder="fast")


@pytest.mark.parametrize("kind", KINDS)
def test_the_packages_themselves(kind):
    """Where they are installed: served, with no pixel that differs in 40 files."""
    pytest.importorskip(KINDS[kind])
    assert fast_decoder(kind) is not None
    ways = [{}]
    if kind == "JPEG":
        ways = [{"quality": q, "subsampling": s} for q in (40, 75, 92) for s in (0, 1, 2)]
    for seed in range(40):
        image = picture(50 + 7 * seed % 60, 30 + 11 * seed % 90, seed)
        data = encoded(image, kind, **ways[seed % len(ways)])
        found = fast_pixels(data, np.inf, False)
        assert found is not None and np.array_equal(found, by_pillow(data)), seed
