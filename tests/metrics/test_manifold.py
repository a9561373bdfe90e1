"""Precision, recall, density and coverage against their definitions, and which is which."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import truth

import ganfast
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics import manifold_metrics
from ganfast.metrics.arrays import as_rows


def gaussian(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_definition(real, fake, k, density_k):
    """All pairs, in float64."""
    real, fake = real.double(), fake.double()

    def distances(x, y):
        return (x[:, None] - y).square().sum(2)

    def radii(x, k):
        return distances(x, x).fill_diagonal_(torch.inf).sort(1).values[:, k - 1]

    between = distances(real, fake)
    close = between < radii(real, density_k)[:, None]
    return {
        "precision": float((between <= radii(real, k)[:, None]).any(0).double().mean()),
        "recall": float((between <= radii(fake, k)).any(1).double().mean()),
        "density": float(close.sum(0).double().mean() / density_k),
        "coverage": float(close.any(1).double().mean()),
        "k": k,
        "density_k": density_k,
    }


def check(found, expected):
    assert vars(found) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("k", [None, 1, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_definition(dtype, k):
    real, fake = gaussian(90, 6, 0).to(dtype), (1.2 * gaussian(70, 6, 1) + 0.2).to(dtype)
    for by in ("reference", *(["cpu"] if "cpu" in truth.backends() else [])):
        with ganfast.backend(by):
            check(manifold_metrics(real, fake, k=k), by_definition(real, fake, k or 3, k or 5))


def test_a_mode_that_is_dropped_lowers_recall():
    """And not precision, which is about the fake images that there are (arXiv:1904.06991, fig. 1).
    torch-fidelity gave each under the other's name before 0.4."""
    modes = torch.tensor([[-20.0] * 8, [20.0] * 8])
    real = gaussian(400, 8, 0) + modes.repeat(200, 1)
    whole = manifold_metrics(real, gaussian(400, 8, 1) + modes.repeat(200, 1))
    dropped = manifold_metrics(real, gaussian(400, 8, 1) + modes[0])
    assert dropped.precision > whole.precision - 0.05 and whole.precision > 0.8
    assert dropped.recall < 0.52 and whole.recall > 0.85
    assert dropped.coverage < 0.52 and whole.coverage > 0.85
    assert dropped.density == pytest.approx(whole.density, abs=0.1)


def test_noise_lowers_precision():
    """And not recall: balls around noisy images are large, and hold the real ones."""
    real, fake = gaussian(400, 8, 0), gaussian(400, 8, 1)
    clean = manifold_metrics(real, fake)
    noisy = manifold_metrics(real, fake + 1.5 * gaussian(400, 8, 2))
    assert clean.precision > 0.85 and noisy.precision < 0.6
    assert clean.recall > 0.85 and noisy.recall > 0.85
    assert noisy.density < 0.7 * clean.density


def test_sides_change_places():
    real, fake = gaussian(100, 4, 0), 1.5 * gaussian(80, 4, 1)
    there, back = manifold_metrics(real, fake), manifold_metrics(fake, real)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert there.precision != there.recall


def test_a_set_and_itself():
    x = gaussian(300, 20, 0)
    found = manifold_metrics(x, x.flip(0).clone())
    assert (found.precision, found.recall, found.density, found.coverage) == (1, 1, 1, 1)


def test_sets_apart():
    found = manifold_metrics(gaussian(50, 4, 0), gaussian(40, 4, 1) + 100)
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_two_sets_of_one_distribution_have_density_one():
    """The expectation of density, whatever the distribution; and coverage is 1 - 2^-k in the limit
    (Naeem et al., section 3.3 and lemma 2)."""
    for scale in (torch.ones(3), torch.tensor([1.0, 10.0, 100.0])):
        found = manifold_metrics(gaussian(3000, 3, 0) * scale, gaussian(3000, 3, 1) * scale)
        assert found.density == pytest.approx(1, abs=0.05)
        assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)


def test_neither_place_nor_scale_matters():
    real, fake = gaussian(100, 6, 0).double(), gaussian(90, 6, 1).double()
    expected = manifold_metrics(real, fake)
    assert manifold_metrics(real * 2.0**70, fake * 2.0**70) == expected
    assert manifold_metrics(real * 2.0**-70, fake * 2.0**-70) == expected
    moved = [(side * 256).round() / 256 for side in (real, fake)]
    assert manifold_metrics(*moved) == manifold_metrics(*(side + 2.0**40 for side in moved))


def test_a_fake_image_on_the_rim():
    """Inside for precision and recall, outside for density and coverage."""
    real = torch.tensor([[0.0], [1.0], [10.0]])
    found = manifold_metrics(real, torch.tensor([[-1.0], [11.0 + 8.0]]), k=1)
    # Radii of real: 1, 1, 9. The first is at 1 from the first ball, the other at 9 from the last.
    assert (found.precision, found.density, found.coverage) == (1.0, 0.0, 0.0)


def test_a_generator_of_one_image():
    real = gaussian(100, 4, 0)
    found = manifold_metrics(real, real[:1].repeat(80, 1))
    assert found.precision == 1.0 and found.recall == 0.01
    assert found.coverage < 0.2


def test_arrays_of_any_kind_and_no_trace_in_autograd():
    real, fake = gaussian(60, 5, 0), gaussian(50, 5, 1)
    expected = manifold_metrics(real, fake)
    assert manifold_metrics(real.numpy(), fake.numpy()) == expected
    assert manifold_metrics(real.T.contiguous().T, fake.double()) == expected
    assert manifold_metrics(real.numpy()[::-1].astype(">f4"), fake) == expected
    assert manifold_metrics(real.requires_grad_(), fake) == expected
    with torch.inference_mode():
        assert manifold_metrics(real, fake + 0) == expected
    torch.set_float32_matmul_precision("medium")
    try:
        assert manifold_metrics(real, fake) == expected
    finally:
        torch.set_float32_matmul_precision("highest")


GOOD = torch.arange(30.0).view(10, 3)
BAD = {
    "k: got 0; give a whole number of at least 1": (GOOD, GOOD, 0),
    "real: got 10 rows; give more than k = 10 of them": (GOOD, GOOD, 10),
    "real: got 5 rows; give more than k = 5 of them": (GOOD[:5], GOOD, None),
    "fake: got 4 rows; give more than k = 4 of them": (GOOD, GOOD[:4], 4),
    r"fake: got shape \(1, 3\); give \(n, d\) with at least 2 rows": (GOOD, GOOD[:1], 1),
    "fake: got NaN or inf; leave these images out": (GOOD, GOOD / 0, None),
    "real: got 10 rows that are all the same": (torch.ones(10, 3), GOOD, None),
    "fake: got 2 features, where real has 3": (GOOD, GOOD[:, :2], None),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line(message):
    real, fake, k = BAD[message]
    with pytest.raises(InputError, match=f"^{message}") as raised:
        manifold_metrics(real, fake, k=k)
    assert len(str(raised.value).splitlines()) == 1


def test_bad_types():
    for k in (2.5, True, "3"):
        with pytest.raises(InputTypeError, match="^k: got"):
            manifold_metrics(GOOD, GOOD, k=k)
    with pytest.raises(InputTypeError, match="^real: got int64; give a torch tensor"):
        manifold_metrics(np.arange(30).reshape(10, 3), GOOD)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_in_files(dtype, tmp_path):
    """Mapped into memory, to read only, and neither copied nor changed."""
    sides = [gaussian(n, 9, n).numpy().astype(dtype) for n in (80, 70)]
    expected = manifold_metrics(*(torch.from_numpy(side).float() for side in sides))
    for i, side in enumerate(sides):
        np.save(tmp_path / f"{i}.npy", side)
    mapped = [np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in range(2)]
    assert as_rows("real", mapped[0]).data_ptr() == mapped[0].ctypes.data
    for by in ("reference", *(["cpu"] if "cpu" in truth.backends() else [])):
        with ganfast.backend(by):
            assert manifold_metrics(*mapped) == expected
