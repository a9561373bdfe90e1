"""Feature matching in Triton: many pairs, dtypes beside each other, kinks, long tensors."""

import pytest
import torch
from oracle import DEVICE

import ganfast
import ganfast.functional as GF


def both(real, fake, distance, backend):
    with ganfast.backend(backend):
        loss = GF.feature_matching_loss(real, fake, distance=distance, weights=3)
        return loss, *torch.autograd.grad(loss, fake)


def pairs(sizes, dtypes=(torch.float32,)):
    source = torch.Generator().manual_seed(0)
    made = []
    for j, n in enumerate(sizes):
        dtype = dtypes[j % len(dtypes)]
        real, fake = (torch.randn(n, generator=source).to(DEVICE, dtype) for _ in range(2))
        made.append((real, fake.requires_grad_()))
    return [list(side) for side in zip(*made, strict=True)]


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("sizes", [[1], [1023, 1024, 1025], [31] * 11])
def test_sizes(distance, sizes):
    real, fake = pairs(sizes)
    wide = [x.double() for x in real], [x.detach().double().requires_grad_() for x in fake]
    got, exact = both(real, fake, distance, "triton"), both(*wide, distance, "reference")
    for mine, right in zip(got, exact, strict=True):
        torch.testing.assert_close(mine.double(), right, rtol=2e-6, atol=1e-9)
    again = both(real, fake, distance, "triton")
    assert all(torch.equal(a, b) for a, b in zip(got, again, strict=True))


def test_several_blocks_to_a_program(monkeypatch):
    """As for long tensors, which would take the interpreter minutes."""
    monkeypatch.setattr("ganfast.backends.triton.losses.MAX_PROGRAMS", 4)
    for distance in ("l1", "l2"):
        test_sizes(distance, [20_003, 7, 4096])


def test_dtypes_beside_each_other():
    dtypes = torch.float16, torch.float32, torch.float64
    real, fake = pairs([100] * 6, dtypes)
    got, exact = (both(real, fake, "l2", backend) for backend in ("triton", "reference"))
    for mine, right in zip(got, exact, strict=True):
        torch.testing.assert_close(mine, right)


def test_kinks_and_nan():
    inf, nan = float("inf"), float("nan")
    fake = torch.tensor([1.0, 2.0, nan, inf, inf, -3.0], device=DEVICE, requires_grad=True)
    real = torch.tensor([1.0, 1.0, 0.0, inf, 0.0, -1.0], device=DEVICE)
    loss, g = both([real], [fake], "l1", "triton")
    assert loss.isnan()
    expected = torch.tensor([0.0, 0.5, nan, nan, 0.5, -0.5], device=DEVICE)
    torch.testing.assert_close(g, expected, equal_nan=True)


def test_strided_pairs():
    fake = torch.randn(6, 8, device=DEVICE, requires_grad=True)
    real = torch.randn(8, 6, device=DEVICE)
    got, exact = (both([real.mT], [fake], "l1", backend) for backend in ("triton", "reference"))
    for mine, right in zip(got, exact, strict=True):
        torch.testing.assert_close(mine, right)
