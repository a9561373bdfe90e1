"""Bitwise the same from run to run and for any number of threads; nearly so for any SIMD set."""

from __future__ import annotations

import pytest
import torch
import truth
from truth import DTYPES, LOSSES, run, threads

import ganfast

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
def test_bitwise(dtype, backend):
    with ganfast.backend(backend):
        for n in SIZES:
            with threads(1):
                one = results(dtype, n)
                again = results(dtype, n)
            with threads(2):
                two = results(dtype, n)
            with threads(3):
                three = results(dtype, n)
            for a, b, c, d in zip(one, again, two, three, strict=True):
                assert torch.equal(a, b) and torch.equal(a, c) and torch.equal(a, d)


@pytest.mark.skipif("cpu" not in truth.backends(), reason="the C++ kernels were not built")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_instruction_set(dtype):
    """All that this processor runs, one by one; the best one is put back."""
    from ganfast import _cpu

    best = _cpu.isa()
    with ganfast.backend("cpu"):
        expected = results(dtype, 5000)
        try:
            for isa in _cpu.supported_isas():
                _cpu.use_isa(isa)
                assert _cpu.isa() == isa
                for a, b in zip(results(dtype, 5000), expected, strict=True):
                    # Vectors of another width add in another order; a mean's terms are about 2.
                    size = b.abs().max().item() if b.dim() else 2.0
                    eps = torch.finfo(dtype).eps
                    torch.testing.assert_close(a, b, rtol=4 * eps, atol=4 * eps * size)
        finally:
            _cpu.use_isa(best)
    with pytest.raises(ValueError, match="'quantum', which is not supported here"):
        _cpu.use_isa("quantum")


@pytest.mark.skipif("cpu" not in truth.backends(), reason="the C++ kernels were not built")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_half_number(dtype):
    """All 65,536 of them through the conversions of each SIMD set: (x - 0)^2/2 has slope x."""
    import ganfast.functional as GF
    from ganfast import _cpu

    x = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    best = _cpu.isa()
    try:
        for isa in _cpu.supported_isas():
            _cpu.use_isa(isa)
            with ganfast.backend("cpu"):
                real, fake = x.clone().requires_grad_(), x.clone().requires_grad_()
                out = GF.discriminator_loss(real, fake, game="lsgan", reduction="none")[1]
                (slope,) = torch.autograd.grad(out, fake, torch.ones_like(out))
            assert torch.equal(slope.isnan(), x.isnan())
            numbers = ~x.isnan()
            assert torch.equal(slope[numbers], x[numbers]), isa
            # And float -> half rounds to nearest even, subnormals included.
            expected = (x.float().square() * 0.5).to(dtype)
            assert torch.equal(out.detach()[numbers], expected[numbers]), isa
    finally:
        _cpu.use_isa(best)
