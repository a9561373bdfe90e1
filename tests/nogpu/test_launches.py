"""How often the Triton backend launches and compiles, seen by a driver that only writes it down."""

import pytest
import torch
import triton
from stub_driver import StubDriver

from ganfast.backends.triton import why_not as triton_why_not
from ganfast.backends.triton.kernels.losses import map_kernel, sum_kernel
from ganfast.backends.triton.losses import (
    adversarial_loss,
    adversarial_loss_gradient,
)
from ganfast.games import PHIS, LossSpec


@pytest.fixture
def driver(monkeypatch):
    stub = StubDriver()
    # reset_active() would ask for the driver of a GPU.
    monkeypatch.setattr(triton.runtime.driver, "_active", stub)
    for kernel in (sum_kernel, map_kernel):
        kernel.device_caches.clear()
    yield stub
    for kernel in (sum_kernel, map_kernel):
        kernel.device_caches.clear()


def spec_of(heads=1, reduction="mean", target=1.0, flip=0.0, noise=0.0):
    targets = (target,) * heads + (0.0,) * heads
    return LossSpec(PHIS["cross_entropy"], targets, heads, reduction, flip, noise)


def play(sizes, spec, key=None, needed=None):
    """Forward and backward; nothing is computed."""
    logits = tuple(torch.zeros(n) for n in sizes)
    values = adversarial_loss(logits, spec, key, torch.float32)
    grads = tuple(values) if isinstance(values, tuple) else (values,)
    adversarial_loss_gradient(grads, logits, spec, key, needed or (True,) * len(logits))


def compiled():
    return sum(len(kernel.device_caches[0][0]) for kernel in (sum_kernel, map_kernel))


@pytest.mark.parametrize("n", [64, 65_536])
@pytest.mark.parametrize("heads", [1, 3, 4])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_one_launch_each_way(driver, n, heads, reduction):
    play([n] * (2 * heads), spec_of(heads, reduction))
    forward = "sum_kernel" if reduction == "mean" else "map_kernel"
    assert [launch.kernel for launch in driver.launches] == [forward, "map_kernel"]


def test_more_tensors_than_a_launch_takes(driver):
    play([2000] * 10, spec_of(5))
    assert [launch.kernel for launch in driver.launches] == ["sum_kernel"] * 2 + ["map_kernel"] * 2
    first, second = (launch.values for launch in driver.launches[:2])
    assert first["counter"] is second["counter"] and first["partials"] is second["partials"]
    assert (first["first_program"], second["first_program"]) == (0, 16)
    assert first["programs"] == second["programs"] == 20


def test_the_grid_of_a_large_sum_is_bounded(driver):
    play([2**24, 2**24 + 1], spec_of())
    forward, backward = driver.launches
    assert forward.grid == 4097 and forward.values["loops_log2"] == 3
    assert backward.grid == 2**15 + 1


def test_nothing_is_launched_for_nothing(driver):
    play([0, 0], spec_of(reduction="none"))
    play([5, 5], spec_of(), needed=(False, False))
    assert [launch.kernel for launch in driver.launches] == ["sum_kernel"]


def test_only_a_new_kind_of_loss_compiles(driver):
    """Not a new size, count of 1, key, rate or combination of gradients."""
    for n in (16, 20_000):
        play([n, n], spec_of(noise=0.1), key=5)
    before = compiled()
    for key, n, target, flip, noise in [
        (1, 1, 1.0, 0.0, 0.1),
        (16, 17, 0.9, 0.3, 0.2),
        (2**40 + 1, 33_000, 0.0, 1.0, 0.0),
        (2**63 + 7, 3_000_001, 0.25, 0.5, 1e-9),
    ]:
        for needed in [(True, True), (False, True), (True, False)]:
            play([n, 3], spec_of(1, "mean", target, flip, noise), key, needed)
    assert compiled() == before


def test_types_of_the_arguments(driver):
    play([20_000, 5], spec_of(noise=0.1), key=torch.tensor(3))
    forward, backward = driver.launches
    for launch in (forward, backward):
        assert launch.types["key_pointer"] == "*i64"
        for name in ("n0", "n7", "t0", "flip", "noise", "key", "heads", "first_stream"):
            assert launch.types[name] == "i64", name
        assert launch.types["x1"] == "*fp32" and launch.types["x2"] == "constexpr"
    assert forward.types["counter"] == "*i32"


def test_why_not():
    assert triton_why_not("cuda") is None
    assert "CUDA device" in triton_why_not("cpu")
