"""The kernel of the preprocessing against the specification."""

import pytest
import torch
from oracle import DEVICE, TINY

from ganfast import _dispatch, reference
from ganfast.backends.triton import preprocess as backend
from ganfast.metrics.preprocessing import preprocess
from ganfast.metrics.protocols import PROTOCOLS
from ganfast.reference.preprocess import PreprocessSpec

HALVES = (torch.float16, torch.bfloat16)
SIZES = [
    # h, w -> height, width
    (1, 1, 9, 5), (1, 7, 9, 30), (7, 5, 40, 31), (9, 8, 9, 8), (9, 30, 9, 8), (33, 20, 8, 20),
    (60, 70, 8, 8), (40, 5, 8, 21), (5, 40, 21, 8), (30, 31, 29, 30), (12, 12, 1, 1),
]  # fmt: skip


def random_images(*shape):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8).to(DEVICE)


def spec_of(protocol, size):
    p = PROTOCOLS[protocol]
    return PreprocessSpec(p.resize, p.scale, p.shift, p.clip, *size)


def check(images, protocol, size, dtype=torch.float32):
    """error(kernel) <= 2 * error(torch, same dtype) + TINY * 2, the result's size being about 2."""
    spec = spec_of(protocol, size)
    got = backend.preprocess(images, spec, dtype)
    torchs = reference.preprocess.preprocess(images, spec, dtype)
    oracle = reference.preprocess.preprocess(images, spec, torch.float64)
    assert got.shape == oracle.shape and got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    error, torch_error = ((x.double() - oracle).abs().max() for x in (got, torchs))
    assert error <= 2 * torch_error + 2 * TINY[dtype], (error, torch_error)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_preprocess(protocol, size):
    images = random_images(2, *size[:2])
    check(images, protocol, size[2:])
    check(images, protocol, size[2:], HALVES[sum(size) % 2])


@pytest.mark.parametrize("size", [(16, 16), (32, 16), (1, 1), (5, 7), (19, 27)], ids=str)
def test_blocks_that_begin_anywhere(size):
    """At an image's very beginning, too, and many images in one block."""
    check(random_images(13, 4, 6), "pytorch-fid", size)


@pytest.mark.parametrize("protocol", ["torch-fidelity", "clean"])
def test_any_layout(protocol):
    base = random_images(3, 15, 12)
    planes = base.movedim(3, 1).contiguous()
    for x in (
        base[1:, 2:11, 3:],
        base[::2, ::2, ::3],
        base.transpose(0, 2),
        planes[:, :, 1:, 2:].movedim(1, 3),
        base[:1].expand(4, -1, -1, -1),
        base[..., :1].expand(-1, -1, -1, 3),
    ):
        check(x, protocol, (20, 9))


@pytest.mark.parametrize("protocol", ["torch-fidelity", "clean"])
@pytest.mark.parametrize("size", [(8, 7), (12, 20)], ids=str)
def test_images_of_many_sizes(protocol, size):
    shapes = ((5, 9), (30, 33), (8, 7), (1, 1), (30, 40), (9, 5))
    images = [random_images(*shape) for shape in shapes]
    images[0] = images[0].transpose(0, 1)
    images[3] = random_images(2, 5)[1:, 3:4].expand(6, 7, 3)
    images[5] = random_images(3, 9)[:, :, 0].permute(1, 0)[..., None].expand(9, 3, 3)
    spec = spec_of(protocol, size)
    for dtype in (torch.float32, torch.float16):
        alone = [backend.preprocess(image[None], spec, dtype)[0] for image in images]
        for some in (images, images[:2], images[:1]):  # of many numbers of taps, and of one
            got = backend.preprocess(some, spec, dtype)
            assert got.shape == (len(some), 3, *size) and got.dtype == dtype
            assert got.is_contiguous(memory_format=torch.channels_last)
            assert all(map(torch.equal, got, alone))


def test_forced():
    images = random_images(2, 5, 6)
    with _dispatch.backend("triton"):
        assert _dispatch.serve("preprocess", (images,)) is backend
        got = preprocess(images, "clean", size=(7, 8))
        assert preprocess(images[:0], "clean", size=(7, 8)).shape == (0, 3, 7, 8)
    assert torch.equal(got, backend.preprocess(images, spec_of("clean", (7, 8)), torch.float32))
    told = {row.backend: row.reason for row in _dispatch.explain("preprocess", images.float())}
    assert "uint8" in told["triton"]
