"""uint8 images to a network's input, on every backend that serves here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import truth

import ganfast
from ganfast import _dispatch, reference
from ganfast.errors import InputError
from ganfast.metrics.preprocessing import preprocess
from ganfast.metrics.protocols import PROTOCOLS, Protocol, find_protocol
from ganfast.reference.preprocess import PreprocessSpec

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BACKENDS = [name for name in ("cpu", "reference") if name in [*truth.backends(), "reference"]]
if "cpu" in BACKENDS:
    from ganfast import _cpu

    ISAS = _cpu.supported_isas()
else:  # not built, or all tensors are on the simulated GPU
    ISAS = []
SIZES = [
    # h, w -> height, width
    (1, 1, 299, 299), (1, 9, 299, 299), (9, 1, 20, 31), (7, 5, 299, 299), (32, 32, 299, 299),
    (298, 300, 299, 299), (299, 299, 299, 299), (300, 299, 299, 299), (299, 40, 299, 299),
    (1024, 640, 299, 299), (1000, 20, 299, 299), (20, 700, 299, 299),
    (28, 28, 8, 8), (8, 8, 8, 8), (3, 8, 8, 8), (8, 30, 8, 8), (513, 400, 8, 8), (60, 70, 1, 1),
    (5, 4, 4, 5), (17, 33, 16, 47),
]  # fmt: skip


@pytest.fixture(params=BACKENDS)
def backend(request):
    with ganfast.backend(request.param):
        yield request.param


@contextmanager
def served_by(way: str) -> Iterator[None]:
    """The reference, or the kernels with an instruction set."""
    if way == "reference":
        with ganfast.backend(way):
            yield
        return
    best = _cpu.isa()
    _cpu.use_isa(way)
    try:
        with ganfast.backend("cpu"):
            yield
    finally:
        _cpu.use_isa(best)


@pytest.fixture(params=ISAS)
def each_isa(request):
    with served_by(request.param):
        yield request.param


def random_images(*shape):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)


def exact(images, protocol, size):
    """The specification in float64."""
    p = PROTOCOLS[protocol]
    spec = PreprocessSpec(p.resize, p.scale, p.shift, p.clip, *size)
    return reference.preprocess.preprocess(images, spec, torch.float64)


def check(got, oracle, dtype=torch.float32, way=None):
    """To 2e-6 (the network's input is about -1..1), or to one rounding of half precision."""
    assert got.dtype == dtype and got.shape == oracle.shape
    assert got.is_contiguous(memory_format=torch.channels_last)
    half = 0.0 if dtype == torch.float32 else torch.finfo(dtype).eps / 2
    allowed = 2e-6 + half * oracle.abs()
    wrong = (got.double() - oracle).abs()
    assert (wrong <= allowed).all(), (way, wrong.max())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_against_the_specification(protocol, size):
    """Of the reference and of every instruction set: the specification takes longer than they."""
    images = random_images(2, *size[:2])
    oracle = exact(images, protocol, size[2:])
    planes = images.movedim(3, 1).contiguous().movedim(1, 3)
    for way in ("reference", *ISAS):
        with served_by(way):
            for view in (images, planes)[: 1 if way == "reference" else 2]:
                for dtype in DTYPES:
                    got = preprocess(view, protocol, size=size[2:], dtype=dtype)
                    check(got, oracle, dtype, way)


def torchs_bilinear(images, size):
    x = images.movedim(3, 1) / 255
    return 2 * F.interpolate(x, size, mode="bilinear", align_corners=False) - 1


def tf1s_bilinear(images, size):
    """As TensorFlow 1's resize_bilinear is written: output i lies at i * (in / out), in float32."""
    x = images.numpy().astype(np.float64)
    for axis, out in ((1, size[0]), (2, size[1])):
        length = x.shape[axis]
        at = np.arange(out, dtype=np.float32) * np.float32(length / out)
        low = at.astype(np.int64)
        high = np.minimum(low + 1, length - 1)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return torch.from_numpy((x - 128) / 128).movedim(3, 1).float()


def pillows_bicubic(images, size):
    image_module = pytest.importorskip("PIL.Image")

    def resized(channel):
        picture = image_module.fromarray(channel.astype(np.float32))
        return np.asarray(picture.resize(size[::-1], resample=image_module.Resampling.BICUBIC))

    x = np.stack([[resized(image[:, :, c]) for c in range(3)] for image in images.numpy()])
    return (torch.from_numpy(x).clamp(0, 255) - 128) / 128


ORACLES = {
    "pytorch-fid": torchs_bilinear,
    "torch-fidelity": tf1s_bilinear,
    "clean": pillows_bicubic,
}


def test_every_protocol_has_an_oracle():
    assert set(ORACLES) == set(PROTOCOLS)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("protocol", ORACLES)
def test_against_the_code_that_it_is_named_after(protocol, size):
    images = random_images(2, *size[:2])
    images[:, ::2] = images[:, ::2] // 200 * 255  # edges, beyond which a cubic overshoots
    expected = ORACLES[protocol](images, size[2:])
    got = preprocess(images, protocol, size=size[2:])
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)


def test_tf1s_grid():
    """Enlarged by a whole number, every input pixel is met again; the last ones are repeated."""
    image = random_images(1, 6, 5)
    got = preprocess(image, "torch-fidelity", size=(18, 20))
    pixels = (image.movedim(3, 1).float() - 128) / 128
    torch.testing.assert_close(got[..., ::3, ::4], pixels, rtol=0, atol=2e-6)
    torch.testing.assert_close(got[..., 15:, ::4], pixels[..., 5:, :].expand(-1, -1, 3, -1))
    middle = (pixels[..., :4] + pixels[..., 1:]) / 2
    torch.testing.assert_close(got[..., ::3, 2:16:4], middle, rtol=0, atol=2e-6)
    # Shrunk by a whole number it takes one pixel and drops the others.
    got = preprocess(image, "torch-fidelity", size=(2, 5))
    torch.testing.assert_close(got, pixels[..., ::3, :])


def test_only_clean_clips():
    image = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    image[:, :, 4:] = 255
    for value in (preprocess(image, "clean", size=40), preprocess(image, "clean", size=(8, 40))):
        assert value.min() == -1 and value.max() == 127 / 128
    open_ended = Protocol("open", "pil-bicubic", 1 / 128, -1.0, clip=False)
    value = preprocess(image, open_ended, size=40)
    assert value.min() < -1.05 and value.max() > 1.05


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_image_of_the_size_stays(backend, protocol):
    images = torch.arange(256, dtype=torch.uint8)[:, None, None].expand(256, 4, 3)[None]
    got = preprocess(images, protocol, size=(256, 4))
    assert (got - ORACLES[protocol](images, (256, 4))).abs().max() < 2e-7
    p = PROTOCOLS[protocol]
    check(got, (p.scale * images.double() + p.shift).movedim(3, 1))


def views():
    base = random_images(4, 23, 38)
    planes = base.movedim(3, 1).contiguous()
    grey = base[..., :1]
    return {
        "rows and columns cut": base[1:, 2:20, 3:31],
        "every second image": base[::2],
        "every second row": base[:, ::2],
        "every second column": base[:, :, 1::2],
        "height and width swapped": base.transpose(1, 2),
        "images and height swapped": base.transpose(0, 1),
        "planes": planes.movedim(1, 3),
        "planes cut": planes[:, :, 3:20, 5:33].movedim(1, 3),
        "planes swapped": planes.movedim(1, 3).transpose(1, 2),
        "one image for all": base[:1].expand(5, -1, -1, -1),
        "one row for all": base[:, :1].expand(-1, 9, -1, -1),
        "one column for all": base[:, :, :1].expand(-1, -1, 9, -1),
        "grey three times": grey.expand(-1, -1, -1, 3),
        "more channels": torch.cat([base, base], 3)[..., 2:5],
        "one column": base[:, :, 7:8],
        "one column of planes": planes[..., 7:8].movedim(1, 3),
        "one row": base[:, 7:8],
        "a byte off": base.flatten()[1 : 1 + 4 * 22 * 38 * 3].view(4, 22, 38, 3),
    }


@pytest.mark.parametrize("name", views())
@pytest.mark.parametrize("protocol", ["pytorch-fid", "clean"])
def test_any_layout(backend, protocol, name):
    x = views()[name]
    kept = x.clone()
    for size in ((31, 20), (8, 47)):
        oracle = exact(x.contiguous(), protocol, size)
        check(preprocess(x, protocol, size=size), oracle)
        check(preprocess(list(x), protocol, size=size), oracle)
    assert torch.equal(x, kept)


def test_mixed_sizes(backend):
    """Each image by itself, to the last bit."""
    images = [random_images(*size) for size in ((5, 9), (40, 33), (16, 16), (1, 1), (300, 2))]
    images[1] = images[1].transpose(0, 1)
    for dtype in DTYPES:
        got = preprocess(images, "clean", size=(16, 16), dtype=dtype)
        assert got.shape == (5, 3, 16, 16)
        for one, image in zip(got, images, strict=True):
            alone = preprocess(image[None], "clean", size=(16, 16), dtype=dtype)
            assert torch.equal(one, alone[0])
    assert torch.equal(
        preprocess(tuple(images), "clean", size=(16, 16)), preprocess(images, "clean", size=16)
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_bits_for_any_number_of_threads(backend, protocol):
    cases = [[random_images(*s) for s in ((70, 80), (310, 290), (20, 301))]]
    cases += [random_images(1, 64, 50), random_images(1, 500, 400), random_images(3, 299, 299)]
    for images in cases:
        found = []
        # How torch divides its own work is hardly ours.
        for threads in (1, 3) if backend == "reference" else (1, 2, 3, 2):
            with truth.threads(threads):
                found.append(preprocess(images, protocol))
        assert all(torch.equal(found[0], other) for other in found[1:])


def test_nothing_is_written_beside_the_result(each_isa):
    """Pixels are moved four floats at a time, of which the last is nobody's."""
    from ganfast.backends.cpu.preprocess import _taps

    for h, w, height, width in SIZES:
        images = random_images(1, h, w)
        down, across = _taps("pil-bicubic", h, height), _taps("pil-bicubic", w, width)
        for dtype in DTYPES:
            room = torch.full((height * width * 3 + 64,), 7.0, dtype=dtype)
            out = room[32:-32].view(1, height, width, 3)
            _cpu.preprocess((images,), (down,), (across,), 1 / 128, -1.0, True, out)
            assert (room[:32] == 7).all() and (room[-32:] == 7).all()
            assert room[32:-32].abs().max() <= 1


def test_larger_than_a_fresh_allocation():
    """The pages of 32 MiB and more are mapped beforehand; nothing beside them changes."""
    images = random_images(35, 3, 4)
    got = preprocess(images, "torch-fidelity")
    assert got.nbytes > 2**25
    for i in (0, 17, 34):
        check(got[i : i + 1], exact(images[i : i + 1], "torch-fidelity", (299, 299)))


def test_no_images(backend):
    for images in (torch.empty(0, 5, 6, 3, dtype=torch.uint8), [], ()):
        for dtype in DTYPES:
            got = preprocess(images, "clean", size=(7, 9), dtype=dtype)
            assert got.shape == (0, 3, 7, 9) and got.dtype == dtype and got.device.type == "cpu"


def test_in_inference_mode_and_after(backend):
    images = random_images(1, 11, 12)
    with torch.inference_mode():
        inside = preprocess(images, "clean", size=13)
    outside = preprocess(images, "clean", size=13)
    assert torch.equal(inside, outside) and not outside.is_inference()


def test_where_it_is_computed():
    images = random_images(2, 4, 5)
    assert preprocess(images, "clean", size=3, device="cpu").device.type == "cpu"
    assert preprocess(list(images), "clean", size=3, device="meta").is_meta
    assert preprocess([], "clean", size=3, device="meta").is_meta
    with torch.device("meta"):
        assert preprocess(images, "clean", size=(77, 78)).device.type == "cpu"


def test_explain_and_forcing():
    images = random_images(1, 4, 4)
    rows = {name: (ok, reason) for name, ok, reason in ganfast.explain("preprocess", images)}
    assert rows["reference"][0] and not rows["cuda"][0]
    if "cpu" in BACKENDS:
        assert rows["cpu"][0] and _dispatch.serve("preprocess", (images,)).__name__.endswith(
            "cpu.preprocess"
        )
    assert "torch.float32" in ganfast.explain("preprocess", images.float())[0].reason
    with ganfast.backend("cuda"), pytest.raises(RuntimeError, match="'cuda' was forced"):
        preprocess(images, "clean")


def test_protocols():
    for name, protocol in PROTOCOLS.items():
        assert find_protocol(name) is protocol is find_protocol(protocol)
        assert protocol.name == name
    with pytest.raises(InputError, match="protocol: got 'fid'; give one of pytorch-fid, "):
        find_protocol("fid")
    with pytest.raises(InputError, match="protocol: got None"):
        preprocess(random_images(1, 2, 2), None)


BAD = {
    "float": (torch.zeros(1, 4, 4, 3), r"images: got torch.float32; give uint8"),
    "int8": ([torch.zeros(4, 4, 3, dtype=torch.int8)], r"images\[0\]: got torch.int8; give uint8"),
    "grey batch": (random_images(2, 4, 4)[..., :1], r"images: got shape \(2, 4, 4, 1\).* repeat"),
    "grey planes": (random_images(2, 4, 4)[..., 0], r"images: got shape \(2, 4, 4\).* repeat"),
    "grey images": ([random_images(4, 4)[..., :1]], r"images\[0\]: got shape \(4, 4, 1\).* repeat"),
    "grey matrices": ([random_images(4, 4)[..., 0]], r"images\[0\]: got shape \(4, 4\).* repeat"),
    "one image": (random_images(4, 4), r"images: got shape \(4, 4, 3\).*\(n, h, w, 3\)"),
    "alpha": (torch.zeros(1, 4, 4, 4, dtype=torch.uint8), r"images: got shape \(1, 4, 4, 4\)"),
    "planes": (random_images(2, 5, 6).movedim(3, 1), r"images: got shape .*movedim\(-3, -1\)"),
    "no rows": (random_images(2, 0, 6), r"images: got shape \(2, 0, 6, 3\); .* one pixel"),
    "no columns": ([random_images(2, 0)], r"images\[0\]: got shape \(2, 0, 3\); .* one pixel"),
    "devices": (
        [random_images(2, 2), random_images(2, 2).to("meta")],
        r"images\[1\]: got one on meta",
    ),
    "batches": ([random_images(2, 2), random_images(1, 2, 2)], r"images\[1\]: got shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images(name):
    images, message = BAD[name]
    with pytest.raises(InputError, match=message) as caught:
        preprocess(images, "clean")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("images", [None, "folder", np.zeros((1, 4, 4, 3), np.uint8), [3], [None]])
def test_not_images(images):
    with pytest.raises(TypeError, match=r"images(\[0\])?: got a "):
        preprocess(images, "clean")


@pytest.mark.parametrize("size", [0, -1, 2.0, True, (3,), (3, 4, 5), (3, 0), "3", None])
def test_bad_sizes(size):
    with pytest.raises(InputError, match="size: got"):
        preprocess(random_images(1, 4, 4), "clean", size=size)


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8, None])
def test_bad_dtypes(dtype):
    with pytest.raises(InputError, match="dtype: got"):
        preprocess(random_images(1, 4, 4), "clean", dtype=dtype)
