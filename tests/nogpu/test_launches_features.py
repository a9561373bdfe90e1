"""How often feature matching launches and compiles, seen by a driver that only writes it down."""

import torch

from ganfast.backends.triton import features as backend
from ganfast.backends.triton.kernels.features import distance_gradient_kernel, distance_kernel
from ganfast.reference.features import DistanceSpec

KERNELS = (distance_kernel, distance_gradient_kernel)


def play(sizes, dtypes=(torch.float32,), needed=None, square=False, weight=0.5):
    """Forward and backward; nothing is computed."""
    fake = tuple(torch.zeros(n, dtype=dtypes[j % len(dtypes)]) for j, n in enumerate(sizes))
    spec = DistanceSpec(square, tuple(weight + j for j in range(len(fake))))
    value = backend.feature_distance(fake, fake, spec)
    needed = needed or (True,) * len(fake)
    return backend.feature_distance_gradient(value, fake, fake, spec, needed)


def names(driver):
    return [launch.kernel.removesuffix("_kernel") for launch in driver.launches]


def test_one_launch_each_way_for_up_to_eight_pairs(driver):
    for pairs in (1, 3, 8):
        driver.launches.clear()
        play([100, 70_001, 64, 1, 5, 6, 7, 2**20][:pairs])
        assert names(driver) == ["distance", "distance_gradient"]
    driver.launches.clear()
    play([2000] * 50)
    assert names(driver) == ["distance"] * 7 + ["distance_gradient"] * 7
    forward = [launch.values for launch in driver.launches[:7]]
    assert all(v["counter"] is forward[0]["counter"] for v in forward)
    assert [v["first_program"] for v in forward] == [16 * k for k in range(7)]
    assert {v["programs"] for v in forward} == {100}


def test_one_launch_for_each_dtype(driver):
    gradients = play([9] * 6, (torch.float32, torch.bfloat16))
    assert names(driver) == ["distance"] * 2 + ["distance_gradient"] * 2
    assert [g.dtype for g in gradients] == [torch.float32, torch.bfloat16] * 3


def test_what_needs_no_gradient_is_not_launched(driver):
    first, second = play([9, 9], needed=(False, True))
    assert first is None and second is not None
    assert driver.launches[-1].values["n0"] == 9 and driver.launches[-1].values["n1"] == 0
    driver.launches.clear()
    assert play([9], needed=(False,)) == (None,)
    assert names(driver) == ["distance"]


def test_only_a_new_distance_or_number_of_pairs_compiles(driver):
    compiled = lambda: sum(len(k.device_caches[0][0]) for k in KERNELS)  # noqa: E731
    play([64, 1000])
    before = compiled()
    play([1, 70_001], weight=16.0)
    assert compiled() == before
    play([64, 1000], square=True)
    assert compiled() == 2 * before
