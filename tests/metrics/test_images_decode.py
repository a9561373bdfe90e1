"""Which pixels a file gives, exactly."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from image_samples import crop, encode
from PIL import Image, ImageFile, PngImagePlugin

from ganfast.errors import InputError
from ganfast.metrics.images.decode import DecodeError, Decoder


def decode(data: bytes, name: str = "a.png", **options) -> np.ndarray:
    pixels = Decoder(**options).decode(data, name)
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    return pixels


def png(width, height, depth, colour_type, rows, transparency=None, palette=None) -> bytes:
    """A PNG as Pillow can't write it."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)]
    if palette:
        parts.append(chunk(b"PLTE", palette))
    if transparency:
        parts.append(chunk(b"tRNS", transparency))
    parts.append(chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))))
    return b"".join([*parts, chunk(b"IEND", b"")])


def big_endian(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {"irreversible": False}),
        ("QOI", {}),
    ],
)
def test_lossless_formats_give_the_photograph(kind, options):
    image = crop(0, 40, 56)
    np.testing.assert_array_equal(decode(encode(image, kind, **options)), image)


def test_jpeg_is_decoded_at_full_size_as_pillow_does():
    image = crop(1, 200, 304)
    data = encode(image, "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data, "a.jpg"), expected)


def test_the_first_of_several_photographs_in_one_jpeg():
    frames = [Image.fromarray(crop(number, 64, 64)) for number in range(2)]
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    expected = np.asarray(Image.open(io.BytesIO(encode(frames[0], "JPEG"))))
    np.testing.assert_array_equal(decode(data, "a.jpg"), expected)


def test_avif_is_close_to_the_photograph():
    image = crop(0, 64, 64)
    decoded = decode(encode(image, "AVIF", quality=95), "a.avif").astype(int)
    assert np.abs(decoded - image).mean() < 4


def test_the_content_counts_not_the_name():
    image = crop(0)
    np.testing.assert_array_equal(decode(encode(image, "BMP"), "a.JPG"), image)


def test_gray_and_bilevel_are_repeated():
    gray = crop(0)[..., 1]
    expected = np.repeat(gray[..., None], 3, 2)
    np.testing.assert_array_equal(decode(encode(gray)), expected)
    np.testing.assert_array_equal(
        decode(encode(Image.fromarray(gray > 99))), np.where(expected > 99, 255, 0)
    )


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette_is_looked_up(kind):
    picture = Image.fromarray(crop(1)).quantize(64)
    np.testing.assert_array_equal(decode(encode(picture, kind)), np.asarray(picture.convert("RGB")))


def composited(colour: np.ndarray, alpha: np.ndarray, paper: int) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.floor(colour * share + paper * (1 - share) + 0.5).astype(np.uint8)


@pytest.mark.parametrize(("background", "paper"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited(background, paper, kind):
    colour, alpha = crop(0), crop(1)[..., 0]
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encode(np.dstack([colour, alpha]), kind, **options)
    np.testing.assert_array_equal(
        decode(data, background=background), composited(colour, alpha, paper)
    )


@pytest.mark.parametrize("paper", [0, 255])
def test_every_colour_and_alpha_is_rounded_to_nearest(paper):
    colour = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None], 3, 2)
    alpha = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 256))
    out = decode(encode(np.dstack([colour, alpha])), background="white" if paper else "black")
    exact = colour * (alpha[..., None] / 255) + paper * (1 - alpha[..., None] / 255)
    assert np.abs(out - exact).max() < 0.5


def test_gray_with_alpha():
    gray, alpha = crop(0)[..., 0], crop(1)[..., 0]
    data = encode(Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha)]))
    np.testing.assert_array_equal(
        decode(data), composited(np.repeat(gray[..., None], 3, 2), alpha, 255)
    )


def test_transparency_of_a_palette():
    palette = bytes([10, 20, 30, 40, 50, 60])
    data = png(2, 1, 8, 3, [bytes([0, 1])], bytes([51]), palette)
    assert decode(data, background="black").tolist() == [[[2, 4, 6], [40, 50, 60]]]
    assert decode(data).tolist() == [[[206, 208, 210], [40, 50, 60]]]
    gif = encode(Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P"), "GIF", transparency=0)
    assert (decode(gif) == 255).all() and (decode(gif, background="black") == 0).all()


@pytest.mark.parametrize(
    ("data", "second"),
    [
        (png(2, 1, 8, 2, [bytes([1, 2, 3, 4, 5, 6])], big_endian(1, 2, 3)), [4, 5, 6]),
        (png(2, 1, 8, 0, [bytes([5, 6])], big_endian(5)), [6] * 3),
        (png(2, 1, 4, 0, [bytes([0x57])], big_endian(5)), [7 * 17] * 3),
        (png(2, 1, 2, 0, [bytes([0b01100000])], big_endian(1)), [170] * 3),
        (png(2, 1, 1, 0, [bytes([0b01000000])], big_endian(0)), [255] * 3),
        (png(2, 1, 16, 0, [big_endian(700, 771)], big_endian(700)), [3] * 3),
        (
            png(
                2,
                1,
                16,
                2,
                [big_endian(300, 600, 900, 1024, 2048, 4096)],
                big_endian(300, 600, 900),
            ),
            [4, 8, 16],
        ),
    ],
    ids=["rgb", "gray", "gray4", "gray2", "bilevel", "gray16", "rgb16"],
)
def test_one_transparent_colour(data, second):
    assert decode(data).tolist() == [[[255] * 3, second]]
    assert decode(data, background="black").tolist() == [[[0] * 3, second]]


def test_sixteen_bit_gray_is_scaled():
    gray = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.repeat(np.round(gray / 257).astype(np.uint8)[..., None], 3, 2)
    pgm = b"P5\n256 256\n65535\n" + gray.astype(">u2").tobytes()
    for data in (
        encode(gray),
        encode(gray, "TIFF"),
        encode(gray.astype(">u2"), "TIFF"),
        encode(gray, "JPEG2000", irreversible=False),
        pgm,
    ):
        np.testing.assert_array_equal(decode(data), expected)


def test_wider_integers_are_refused_unless_they_fit():
    fits = np.array([[0, 257, 65535]], np.int32)
    assert decode(encode(fits, "TIFF"))[0, :, 0].tolist() == [0, 1, 255]
    for values in ([0, 65536], [-1, 5]):
        with pytest.raises(DecodeError, match="only 0 to 65535"):
            decode(encode(np.array([values], np.int32), "TIFF"))


def test_floating_point_is_refused():
    with pytest.raises(DecodeError, match="8 or 16 bits"):
        decode(encode(np.zeros((4, 4), np.float32), "TIFF"))


def test_sixteen_bit_colour_is_its_high_byte():
    row = big_endian(0, 255, 256, 511, 65279, 65535)
    assert decode(png(2, 1, 16, 2, [row])).tolist() == [[[0, 0, 1], [1, 254, 255]]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    data = encode(Image.new("CMYK", (8, 8), (10, 20, 30, 40)), kind)
    assert np.unique(decode(data).reshape(-1, 3), axis=0).tolist() == [[207, 198, 190]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animated_gives_the_first_frame(kind):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.unique(decode(data).reshape(-1, 3), axis=0).tolist() == [[250, 0, 0]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_exif_orientation_is_an_option(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: to be shown, it must go a quarter to the right
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(crop(0, 24, 40), kind, exif=exif, **options)
    as_stored = decode(data)
    assert as_stored.shape == (24, 40, 3)
    np.testing.assert_array_equal(decode(data, exif=True), np.rot90(as_stored, -1))


@pytest.mark.parametrize("exif", [False, True])
def test_the_orientation_of_a_tiff_is_always_applied_and_once(exif):
    data = encode(crop(0, 24, 40), "TIFF", tiffinfo={0x0112: 6})
    np.testing.assert_array_equal(decode(data, exif=exif), np.rot90(crop(0, 24, 40), -1))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_npy_files():
    image, alpha = crop(0), crop(1)[..., 0]
    np.testing.assert_array_equal(decode(npy(image), "a.NPY"), image)
    gray = np.repeat(image[..., :1], 3, 2)
    np.testing.assert_array_equal(decode(npy(image[..., 0]), "a.npy"), gray)
    np.testing.assert_array_equal(decode(npy(image[..., :1]), "a.npy"), gray)
    both = npy(np.dstack([image, alpha]))
    np.testing.assert_array_equal(decode(both, "a.npy"), composited(image, alpha, 255))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4, 3), np.float32), "save it as uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), "save it as uint8"),
        (np.zeros((4, 4, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((0, 4, 3), np.uint8), "save it as uint8"),
        (np.array([{}], dtype=object), "not an .npy file that NumPy can read"),
    ],
)
def test_other_npy_files_are_refused(array, reason):
    with pytest.raises(DecodeError, match=reason):
        decode(npy(array), "a.npy")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"\0\0\0\x18ftypheic" + bytes(80), r"a HEIF \(HEIC\) photograph.* convert it"),
        (b"<html>not found</html>\n", "holds text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (bytes(range(256)), "not an image, or of a format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "holds text"),
        (png(30_000, 30_000, 8, 0, [b""]), "too large to be safe: .*900000000 pixels"),
    ],
)
def test_a_bad_file_says_why(data, reason):
    with pytest.raises(DecodeError, match=reason) as caught:
        decode(data)
    assert str(caught.value) and "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "QOI"]
)
def test_a_file_cut_short_is_never_half_an_image(kind, share):
    whole = encode(crop(0, 100, 100), kind)
    with pytest.raises(DecodeError):
        decode(whole[: int(len(whole) * share)])


def test_no_other_program_is_asked():
    eps = b"\xc5\xd0\xd3\xc6" + b"\0" * 300
    with pytest.raises(DecodeError, match="not an image, or of a format"):
        decode(eps)


def test_a_truncated_file_is_an_error_whatever_other_code_set(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DecodeError, match="truncated"):
        decode(encode(crop(0, 200, 200), "JPEG")[:3000])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_between_once_and_twice_the_limit_is_read_without_a_warning(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    image = crop(0, 40, 40)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(decode(encode(image)), image)
    assert seen == []
    with pytest.raises(DecodeError, match="too large"):
        decode(encode(crop(0, 50, 50)))


@pytest.mark.parametrize("limit, taken", [(1599, False), (1600, True), (0, True)])
def test_the_limit_on_pixels_can_be_set(limit, taken, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encode(crop(0, 40, 40))
    for given, fits in ((None, False), (limit, taken)):
        if fits:
            assert decode(data, max_pixels=given).shape == (40, 40, 3)
        else:
            with pytest.raises(DecodeError, match=r"too large to be safe.* --max-pixels N"):
                decode(data, max_pixels=given)
        assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(InputError, match="max_pixels: got -1"):
        Decoder(max_pixels=-1)


def long_text(compressed):
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "a" * 2_000_000, zip=compressed)
    return {"pnginfo": info}


@pytest.mark.parametrize(
    "metadata",
    [{"icc_profile": bytes(2_000_000)}, long_text(True), long_text(False)],
    ids=["profile", "compressed text", "text"],
)
def test_large_metadata_of_a_png_leaves_its_pixels_alone(metadata):
    image = crop(0, 8, 8)
    np.testing.assert_array_equal(decode(encode(image, **metadata)), image)


def test_damaged_metadata_of_a_png_leaves_its_pixels_alone():
    image = crop(0, 8, 8)
    data = encode(image, icc_profile=b"profile")
    at = data.index(b"iCCP") + 20
    np.testing.assert_array_equal(decode(data[:at] + b"!" + data[at + 1 :]), image)
    with pytest.raises(DecodeError):  # not so of the pixels
        at = data.index(b"IDAT") + 20
        decode(data[:at] + b"!!" + data[at + 2 :])


def test_random_damage_is_always_a_decode_error():
    rng = np.random.default_rng(0)
    decoder = Decoder()
    failed = 0
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "QOI"):
        whole = encode(crop(2), kind)
        for _ in range(40):
            damaged = bytearray(whole)
            for place in rng.integers(0, min(len(whole), 400), 4):
                damaged[place] = rng.integers(0, 256)
            try:
                pixels = decoder.decode(bytes(damaged), "a")
                assert pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)
            except DecodeError as error:
                failed += 1
                assert str(error)
    assert failed > 50


def test_an_unknown_background():
    with pytest.raises(InputError, match="background: got 'pink'; give one of white, black"):
        Decoder(background="pink")


def test_without_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InputError, match=r"Pillow; pip install 'ganfast\[fid\]'"):
        Decoder()
