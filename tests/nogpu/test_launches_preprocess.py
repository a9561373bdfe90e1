"""How often the preprocessing launches and compiles, seen by a driver that only writes it down."""

import pytest
import torch
import triton

from ganfast.backends.triton import preprocess as backend
from ganfast.backends.triton.kernels.preprocess import (
    COLUMNS,
    preprocess_each_kernel,
    preprocess_kernel,
)
from ganfast.metrics.protocols import PROTOCOLS
from ganfast.reference.preprocess import PreprocessSpec, resize_taps

KERNELS = (preprocess_kernel, preprocess_each_kernel)


def play(images, protocol="pytorch-fid", size=(299, 299), dtype=torch.float32):
    """Nothing is computed."""
    p = PROTOCOLS[protocol]
    spec = PreprocessSpec(p.resize, p.scale, p.shift, p.clip, *size)
    backend.preprocess(images, spec, dtype)


def images_of(*shape):
    return torch.zeros(*shape, 3, dtype=torch.uint8)


def test_one_launch_for_a_batch_and_for_each_size(driver):
    play(images_of(50, 32, 32))
    (launch,) = driver.launches
    assert launch.kernel == "preprocess_kernel"
    assert launch.grid == -(-50 * 3 * 299 * 299 // 512)
    assert launch.values["elements"] == 50 * 3 * 299 * 299
    assert launch.types["images"] == "*u8" and launch.types["elements"] == "i64"
    driver.launches.clear()
    play([images_of(32, 32), images_of(5, 700), images_of(1, 1)])
    (launch,) = driver.launches
    assert launch.kernel == "preprocess_each_kernel"
    assert launch.grid == 3 * -(-3 * 299 * 299 // 512)
    assert launch.types["table"] == "*i64" and launch.types["programs"] == "i64"


@pytest.mark.parametrize("together", [True, False])
def test_the_table_says_where_each_image_lies(driver, together):
    if together:
        flat = torch.zeros(9000, dtype=torch.uint8)
        images = [flat[5:1925].view(32, 20, 3), flat[: 9 * 299 * 3].view(299, 9, 3).mT.mT[:7]]
        images = [images[0], images[1].transpose(0, 1), flat[9:12].view(1, 1, 3)]
        places, strides = [5, 0, 9], [[60, 3, 1], [3, 27, 1], [3, 3, 1]]
    else:
        images = [images_of(32, 20), images_of(7, 9).transpose(0, 1), images_of(1, 1)]
        places, strides = [0, 1920, 2109], [[60, 3, 1], [21, 3, 1], [3, 3, 1]]
    play(images)
    (launch,) = driver.launches
    assert (launch.values["pixels"].data_ptr() == images[0].data_ptr() - 5) == together
    table = launch.values["table"][: 3 * COLUMNS].view(3, COLUMNS)
    assert table[:, 0].tolist() == places and table[:, 1:4].tolist() == strides
    assert table[:, 5].tolist() == [2, 2, 1] and table[:, 7].tolist() == [2, 2, 1]
    taps = resize_taps("bilinear", 32, 299)
    at = int(table[0, 4])
    assert launch.values["starts"][at : at + 299].tolist() == taps.starts.tolist()
    weights = launch.values["weights"][at + 299 : at + 3 * 299]
    assert torch.equal(weights.view(299, 2), taps.weights.float())


def test_strides_are_handed_on_as_they_are(driver):
    planes = torch.zeros(4, 3, 20, 30, dtype=torch.uint8)
    play(planes[:, :, 1:, 2:].movedim(1, 3))
    (launch,) = driver.launches
    names = ("image_stride", "row_stride", "pixel_stride", "channel_stride")
    assert [launch.values[name] for name in names] == [1800, 30, 1, 600]


def test_only_a_new_kind_compiles(driver):
    """Not a new number or size of images, or of the result."""
    for protocol in PROTOCOLS:
        play(images_of(2, 32, 32), protocol)
    play(images_of(2, 512, 512), "clean")

    def compiled():
        return sum(len(caches[0]) for caches in preprocess_kernel.device_caches.values())

    before = compiled()
    assert before == 3  # 2 x 2 taps, 4 x 4 and many; the two bilinear ones share theirs
    for shape in ((1, 32, 32), (7, 100, 290), (64, 17, 20)):
        play(images_of(*shape), "pytorch-fid", (299, 299))
        play(images_of(*shape), "torch-fidelity", (1000, 300))
        play(images_of(*shape), "clean", (640, 333))
    play(images_of(3, 1024, 700), "clean")
    play(images_of(3, 700, 310), "clean")
    assert compiled() == before


def test_only_a_new_kind_of_many_sizes_compiles(driver):
    def compiled():
        return sum(len(caches[0]) for caches in preprocess_each_kernel.device_caches.values())

    play([images_of(32, 32), images_of(40, 700)])
    play([images_of(32, 32), images_of(40, 700)], "clean")  # many taps
    assert compiled() == 2
    play([images_of(100 + i, 17) for i in range(5)], "torch-fidelity", (1000, 300))
    play([images_of(32, 32), images_of(299, 700), images_of(1, 1)], "clean", (64, 400))
    assert compiled() == 2


def test_a_second_launch_gives_the_compiled_kernel_what_the_first_did(driver, monkeypatch):
    """And does not go Triton's own way."""
    ways = []
    run = triton.JITFunction.run

    def counted(self, *arguments, **options):
        ways.append(self)
        return run(self, *arguments, **options)

    monkeypatch.setattr(triton.JITFunction, "run", counted)
    for images in (images_of(2, 32, 40), [images_of(32, 40), images_of(3, 5)]):
        driver.launches.clear()
        for _ in range(2):
            play(images, "clean")
        first, second = driver.launches
        assert (first.kernel, first.grid, first.types) == (second.kernel, second.grid, second.types)
        for name, value in first.values.items():
            assert isinstance(value, torch.Tensor) or value == second.values[name], name
    assert len(ways) == 2


def test_nothing_is_launched_for_nothing(driver):
    play(images_of(0, 5, 6))
    assert driver.launches == []
