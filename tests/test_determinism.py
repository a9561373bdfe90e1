"""Bitwise the same from run to run and for any number of threads; nearly so for any SIMD set."""

from __future__ import annotations

import pytest
import torch
import truth
from truth import DTYPES, LOSSES, run, threads

import ganfast
import ganfast.functional as GF

SIZES = (1000, 40_000, 200_003)


def results(dtype, n):
    torch.manual_seed(n)
    real, fake = (2 * torch.randn(n)).to(dtype), (2 * torch.randn(n + 77)).to(dtype)
    values = []
    for loss in LOSSES.values():
        values += run(loss, real, fake)
    options = {"label_noise": 0.1, "label_flip": 0.1}
    generator = torch.Generator().manual_seed(1)
    values += run(LOSSES["nonsaturating D"], real, fake, generator=generator, **options)
    return values


@pytest.mark.parametrize("backend", truth.backends())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_bitwise(n, dtype, backend):
    found = []
    for count in (1, 1, 2, 3):
        with threads(count), ganfast.backend(backend):
            found.append(results(dtype, n))
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


@pytest.fixture(scope="module")
def best() -> dict[torch.dtype, list[torch.Tensor]]:
    """What the best instruction set gives."""
    with ganfast.backend("cpu"):
        return {dtype: results(dtype, 5000) for dtype in DTYPES}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_instruction_set(best, isa, dtype):
    from ganfast import _cpu

    assert _cpu.isa() == isa
    with ganfast.backend("cpu"):
        found = results(dtype, 5000)
    for a, b in zip(found, best[dtype], strict=True):
        # Vectors of another width add in another order; a mean's terms are about 2.
        size = b.abs().max().item() if b.dim() else 2.0
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(a, b, rtol=4 * eps, atol=4 * eps * size)


def test_an_unknown_instruction_set(isa):
    from ganfast import _cpu

    with pytest.raises(ValueError, match="'quantum', which is not supported here"):
        _cpu.use_isa("quantum")
    assert _cpu.isa() == isa


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_half_number(isa, dtype):
    """All 65,536 of them through the conversions of each SIMD set: (x - 0)^2/2 has slope x."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    with ganfast.backend("cpu"):
        real, fake = x.clone().requires_grad_(), x.clone().requires_grad_()
        out = GF.discriminator_loss(real, fake, game="lsgan", reduction="none")[1]
        (slope,) = torch.autograd.grad(out, fake, torch.ones_like(out))
    assert torch.equal(slope.isnan(), x.isnan())
    numbers = ~x.isnan()
    assert torch.equal(slope[numbers], x[numbers])
    # And float -> half rounds to nearest even, subnormals included.
    expected = (x.float().square() * 0.5).to(dtype)
    assert torch.equal(out.detach()[numbers], expected[numbers])
