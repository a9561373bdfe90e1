"""Who serves what, forcing a backend, and being told why one cannot."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import truth
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import ganfast
import ganfast.functional as GF
from ganfast import _dispatch, reference
from ganfast.errors import Refusal
from ganfast.games import PHIS, LossSpec

X = torch.zeros(3)


def test_explain_gives_every_backend_a_reason():
    for op in _dispatch.OPS:
        rows = ganfast.explain(op, X)
        assert [row[0] for row in rows] == list(_dispatch.BACKENDS)
        assert all(isinstance(ok, bool) and reason for _, ok, reason in rows)
        assert rows[-1][:2] == ("reference", True)
    rows = {
        name: (ok, reason) for name, ok, reason in ganfast.explain("generator_loss", X.to("meta"))
    }
    assert not rows["cpu"][0] and "not on meta" in rows["cpu"][1]
    rows = {name: (ok, reason) for name, ok, reason in ganfast.explain("generator_loss", X.long())}
    assert not rows["cpu"][0] and "torch.int64" in rows["cpu"][1]
    with pytest.raises(ValueError, match="op: got 'relu'; the ops are discriminator_loss"):
        ganfast.explain("relu", X)


def test_the_first_that_can_serves():
    first = next(name for name, ok, _ in ganfast.explain("generator_loss", X) if ok)
    assert f".{first}." in _dispatch.serve("generator_loss", (X,)).__name__


def test_forcing():
    with ganfast.backend("reference"):
        assert _dispatch.serve("generator_loss", (X,)) is reference.losses
        with (
            ganfast.backend("cuda"),
            pytest.raises(RuntimeError, match="'cuda' was forced but cannot"),
        ):
            GF.generator_loss(X)
        assert _dispatch.forced() == ("reference",)
    assert _dispatch.forced() == ()
    with pytest.raises(ValueError, match="backend: got 'gpu'; the backends are cpu, triton"):
        ganfast.backend("gpu").__enter__()


def test_forcing_several_gives_every_reason():
    with ganfast.backend("triton", "cuda"):
        with pytest.raises(RuntimeError) as told:
            GF.generator_loss(X)
        assert "'triton' or 'cuda' was forced but cannot serve generator_loss" in str(told.value)
        assert "triton: " in str(told.value) and "cuda: it has no kernel" in str(told.value)
    with ganfast.backend("cuda", "reference"):
        assert _dispatch.serve("generator_loss", (X,)) is reference.losses
    with pytest.raises(ValueError, match="backend: got no name"):
        ganfast.backend().__enter__()


def test_a_step_of_other_ops_need_not_be_in_the_forced_backend():
    x = torch.eye(3, dtype=torch.float64)
    with ganfast.backend("cuda"):
        assert _dispatch.serve("symmetry", (x,)) is reference.linalg
        with pytest.raises(RuntimeError, match="cannot serve sqrtm"):
            _dispatch.serve("sqrtm", (x,))


def test_a_refusal_is_the_reference_s_turn_or_an_error():
    def refuse(*arguments):
        raise Refusal("x is odd")

    kernels = SimpleNamespace(generator=refuse, mean_score=refuse)
    spec = LossSpec(PHIS["linear"], (1.0,), 1, "mean")
    arguments = ("generator_loss", kernels, "mean_score", (torch.ones(3),), spec, torch.float32)
    assert _dispatch.call(*arguments) == -1
    with ganfast.backend("cpu"), pytest.raises(RuntimeError, match="'cpu' was forced .*: x is odd"):
        _dispatch.call(*arguments)


def test_a_dispatch_mode_sees_the_whole_computation():
    """make_fx records what a mode sees: of a kernel only the memory that it is about to fill."""
    real, fake = torch.randn(64), torch.randn(64)
    for f in (
        lambda x, y: GF.discriminator_loss(x, y),
        lambda x, y: GF.penalty_from_gradient(torch.stack([x, y])),
    ):
        graph = make_fx(f)(real, fake)
        other = torch.randn(64)
        torch.testing.assert_close(graph(other, fake), f(other, fake))


def test_fake_tensors():
    """Memory is estimated with them; their random numbers cannot be read on the host."""
    with FakeTensorMode():
        x, y = torch.randn(4, 3), torch.randn(4, 3)
        assert GF.interpolate(x, y).shape == x.shape
        assert GF.discriminator_loss(x, y, label_noise=0.1).shape == ()
        assert GF.gradient_penalty(torch.nn.Linear(3, 1), x, y).shape == ()


def test_a_forced_backend_serves_or_says_why():
    for name in truth.backends():
        with ganfast.backend(name):
            assert (
                GF.generator_loss(X.requires_grad_()).grad_fn.name() == "_AdversarialLossBackward"
            )
            with pytest.raises(RuntimeError, match=rf"'{name}' was forced .* subclass"):
                GF.generator_loss(torch.zeros(3).as_subclass(type("Tagged", (torch.Tensor,), {})))


@pytest.fixture
def environment(monkeypatch):
    """What a process that begins in another environment reads there, once."""

    def enter(text):
        monkeypatch.setenv("GANFAST_BACKEND", text)
        monkeypatch.setattr(_dispatch, "_chosen", {})
        _dispatch._from_environment.cache_clear()

    yield enter
    monkeypatch.undo()
    _dispatch._from_environment.cache_clear()


def test_environment_variable(environment):
    environment("reference")
    x = torch.zeros(3, requires_grad=True)
    assert "Adversarial" not in GF.generator_loss(x).grad_fn.name()
    environment("cudnn")
    with pytest.raises(ValueError, match="GANFAST_BACKEND: got 'cudnn'; the backends are"):
        GF.generator_loss(x)


def test_another_default_device():
    """Nothing that we make for CPU logits may land on torch's default device."""
    code = (
        "import torch; torch.set_default_device('meta'); import ganfast.functional as GF;"
        "x = torch.zeros(3, device='cpu', requires_grad=True);"
        "loss = GF.discriminator_loss(x, x, label_noise=0.1, label_flip=0.1); loss.backward();"
        "print(loss.device, x.grad.device, bool(x.grad.isfinite().all()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert told.stdout == "cpu cpu True\n", told.stderr


def test_a_triton_that_the_kernels_were_never_compiled_with_does_not_serve(monkeypatch):
    triton = pytest.importorskip("triton")
    from ganfast.backends import triton as backend

    monkeypatch.setattr(triton, "__version__", "3.4.0")
    assert "3.4.0 is older than 3.6" in backend.why_not("cuda")
    monkeypatch.setattr(triton, "__version__", "3.10.0+git1")
    assert "older" not in (backend.why_not("cuda") or "")
