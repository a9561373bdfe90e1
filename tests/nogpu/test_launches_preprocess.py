"""How often the preprocessing launches and compiles, seen by a driver that only writes it down."""

import pytest
import torch
import triton
from stub_driver import StubDriver

from ganfast.backends.triton import preprocess as backend
from ganfast.backends.triton.kernels.preprocess import preprocess_kernel
from ganfast.metrics.protocols import PROTOCOLS
from ganfast.reference.preprocess import PreprocessSpec


@pytest.fixture
def driver(monkeypatch):
    stub = StubDriver()
    monkeypatch.setattr(triton.runtime.driver, "_active", stub)
    preprocess_kernel.device_caches.clear()
    yield stub
    preprocess_kernel.device_caches.clear()


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
    assert len(driver.launches) == 3
    starts = [launch.values["out"].data_ptr() for launch in driver.launches]
    assert [b - a for a, b in zip(starts, starts[1:], strict=False)] == [4 * 3 * 299 * 299] * 2


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


def test_nothing_is_launched_for_nothing(driver):
    play(images_of(0, 5, 6))
    assert driver.launches == []
