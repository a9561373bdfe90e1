"""How often the penalty launches and compiles, seen by a driver that only writes it down."""

import pytest
import torch
import triton

from ganfast.backends.triton import penalty as backend
from ganfast.reference.penalty import PenaltySpec

KERNELS = [k for k in vars(backend).values() if isinstance(k, triton.JITFunction)]


def play(shape, key=5, target=1.0, weight=10.0, group=1):
    """Everything once; nothing is computed."""
    x = torch.zeros(shape)
    spec = PenaltySpec(target, False, weight, group)
    backend.interpolate(x, x, key, group)
    backend.interpolate_gradient(x, key, group, (True, True))
    value, norms = backend.penalty(x, spec)
    backend.penalty_gradient(value, x, norms, spec)
    backend.penalty_second_order(x, value, x, norms, spec)


def compiled():
    return sum(len(kernel.device_caches[0][0]) for kernel in KERNELS if kernel.device_caches)


@pytest.mark.parametrize(
    ("shape", "forward"),
    [((64, 2), "short"), ((4096, 3, 2), "short"), ((64, 3, 32, 32), "long"), ((2, 70_001), "long")],
)
def test_one_launch_each(driver, shape, forward):
    play(shape)
    second = ["penalty_second_order_kernel"]
    if shape == (2, 70_001):  # a row that many programs share
        second = ["long_product_kernel", "long_second_order_kernel"]
    assert [made.kernel for made in driver.launches] == [
        "interpolate_kernel",
        "interpolate_gradient_kernel",
        f"{forward}_penalty_kernel",
        "penalty_gradient_kernel",
        *second,
    ]


@pytest.mark.parametrize("shape", [(64, 2), (64, 1), (64, 3, 32, 32), (2, 70_001)])
def test_a_second_launch_gives_the_compiled_kernel_what_the_first_did(driver, shape):
    play(shape)
    play(shape)
    half = len(driver.launches) // 2
    for a, b in zip(driver.launches[:half], driver.launches[half:], strict=True):
        assert (a.kernel, a.grid, a.types) == (b.kernel, b.grid, b.types)
        numbers = ({k: v for k, v in x.values.items() if not torch.is_tensor(v)} for x in (a, b))
        assert next(numbers) == next(numbers)


def test_lengths_that_are_compiled_apart(driver):
    """A multiple of 16 lets a block start at an aligned address: never for another length."""

    def compiled_for(length):
        before = compiled()
        backend.penalty(torch.zeros(3, length), PenaltySpec(1.0, False, 1.0, 1))
        return compiled() - before

    assert [compiled_for(n) for n in (2048, 2049, 4096, 2050, 2048)] == [1, 1, 0, 0, 0]


def test_the_grid_of_a_long_penalty_is_bounded_and_covers_all(driver):
    for rows, length in ((16, 3 * 256 * 256), (1, 2**24 + 1), (5000, 2048)):
        driver.launches.clear()
        backend.penalty(
            torch.empty(1).expand(rows, length).contiguous(), PenaltySpec(1.0, False, 1.0, 1)
        )
        (launch,) = driver.launches
        values = launch.values
        assert launch.grid == values["programs"] == rows * values["parts"]
        assert launch.grid <= max(4096, rows)
        assert values["parts"] * values["loops"] * 1024 >= length


def test_only_a_new_kind_of_penalty_compiles(driver):
    """Not a new batch, key, target, weight or group; lengths divisible by 16 are another kind."""
    for shape in ((64, 3, 32, 32), (64, 1025), (8, 3, 128, 128), (2, 70_001)):
        play(shape)
    before = compiled()
    for shape, key, target, weight, group in [
        ((16, 3, 64, 64), 2**40 + 1, 2.0, 1.0, 1),
        ((1, 3, 32, 32), 1, 0.5, 16.0, 1),
        ((6, 70_001), 16, 1e-3, 3.0, 2),
    ]:
        play(shape, key, target, weight, group)
    assert compiled() == before


def test_nothing_is_launched_for_nothing(driver):
    backend.interpolate(torch.empty(0, 3), torch.empty(0, 3), 1, 1)
    assert backend.interpolate_gradient(torch.empty(2, 3), 1, 1, (False, False)) == (None, None)
    assert driver.launches == []
