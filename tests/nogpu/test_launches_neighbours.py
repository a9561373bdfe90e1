"""How often nearest neighbours and balls launch and compile, seen by a driver that only writes it
down."""

import torch

from ganfast.backends.triton import neighbours as backend
from ganfast.backends.triton.kernels.neighbours import ball_kernel, nearest_kernel

KERNELS = (nearest_kernel, ball_kernel)


def play(n, m, d, k=5, dtype=torch.float32):
    """Nothing is computed."""
    x, y = (torch.zeros(rows, d, dtype=dtype) for rows in (n, m))
    nearest = backend.nearest_distances(x, k)
    assert nearest.shape == (n, k)
    return backend.ball_counts(x, y, nearest[:, :2].T, torch.zeros(1, m, dtype=torch.float64))


def test_one_launch_for_each(driver):
    play(100, 70, 9)
    nearest, balls = driver.launches
    assert nearest.kernel == "nearest_kernel" and nearest.grid == balls.grid == 4
    assert nearest.values["tiles"] == 1 and nearest.values["out"].shape == (4, 100, 8)
    # Features of neighbouring rows are neighbours in memory.
    assert nearest.values["x"].shape == (9, 100) and nearest.values["x"].is_contiguous()
    assert [balls.values[name] for name in "nmd"] == [100, 70, 9]
    assert balls.values["x_limits"].shape == (2, 100) and balls.values["x_limits"].is_contiguous()
    assert nearest.types["x"] == "*fp32" and balls.types["y_limits"] == "*fp64"


def test_many_rows_are_no_longer_split(driver):
    play(20_000, 3, 1)
    assert driver.launches[0].values["out"].shape[0] == 1
    assert driver.launches[0].values["tiles"] == 625


def test_only_a_new_kind_compiles(driver):
    """Not a new number of rows or features."""

    def compiled():
        return sum(len(c[0]) for kernel in KERNELS for c in kernel.device_caches.values())

    play(100, 70, 9)
    assert compiled() == 2
    for sizes in ((99, 71, 10), (7, 1, 16), (1600, 32, 1), (64, 64, 64)):
        play(*sizes)
    assert compiled() == 2
    play(100, 70, 9, k=3)
    assert compiled() == 3


def test_nothing_is_launched_for_nothing(driver):
    counts = backend.ball_counts(*torch.zeros(2, 0, 4), *torch.zeros(2, 1, 0))
    assert driver.launches == [] and [tuple(c.shape) for c in counts][1] == (1, 0)
