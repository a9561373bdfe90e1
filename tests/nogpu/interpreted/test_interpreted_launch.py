"""What only the interpreter lets a test look at: the constants and the counter of a sum."""

import torch
import triton.language as tl
from oracle import Case, check, run

from ganfast.backends.triton import losses as backend
from ganfast.games import PHIS, LossSpec


def a_case(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = tuple(torch.randn(n, generator=generator).to(dtype) for n in (4097, 3000))
    return Case(logits, LossSpec(PHIS["cross_entropy"], (0.9, 0.0), 1, "mean"), None, dtype)


def test_more_partial_sums_than_one_load_takes(monkeypatch):
    monkeypatch.setattr("ganfast.backends.triton.kernels.losses.PARTIALS", tl.constexpr(2))
    check(a_case(torch.float64))


def test_the_counter_is_back_at_zero(monkeypatch):
    counter = torch.zeros((), dtype=torch.int32)
    monkeypatch.setattr("ganfast.backends.triton.losses.counter", lambda device, once: counter)
    case = a_case(torch.float32)
    first, second = run(backend, case)[0][0], run(backend, case)[0][0]
    assert torch.equal(first, second) and counter == 0
