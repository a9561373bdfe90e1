"""Who serves what, forcing a backend, and being told why one cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import truth

import ganfast
import ganfast.functional as GF
from ganfast import _dispatch, reference

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
    assert _dispatch.pick("generator_loss", X).__name__.endswith(first)


def test_forcing():
    with ganfast.backend("reference"):
        assert _dispatch.pick("generator_loss", X) is reference
        with (
            ganfast.backend("cuda"),
            pytest.raises(RuntimeError, match="'cuda' was forced but cannot"),
        ):
            GF.generator_loss(X)
        assert _dispatch.forced() == "reference"
    assert _dispatch.forced() is None
    with pytest.raises(ValueError, match="backend: got 'gpu'; the backends are cpu, triton"):
        ganfast.backend("gpu").__enter__()


def test_a_forced_backend_serves_or_says_why():
    for name in truth.backends():
        with ganfast.backend(name):
            assert (
                GF.generator_loss(X.requires_grad_()).grad_fn.name() == "_AdversarialLossBackward"
            )
            with pytest.raises(RuntimeError, match=rf"'{name}' was forced .* subclass"):
                GF.generator_loss(torch.zeros(3).as_subclass(type("Tagged", (torch.Tensor,), {})))


def python(code, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_environment_variable():
    code = (
        "import torch, ganfast.functional as GF;"
        "print(GF.generator_loss(torch.zeros(3, requires_grad=True)).grad_fn.name())"
    )
    assert "Adversarial" not in python(code, GANFAST_BACKEND="reference").stdout
    wrong = python(code, GANFAST_BACKEND="cudnn")
    assert wrong.returncode and "GANFAST_BACKEND: got 'cudnn'; the backends are" in wrong.stderr


def test_another_default_device():
    """Nothing that we make for CPU logits may land on torch's default device."""
    code = (
        "import torch; torch.set_default_device('meta'); import ganfast.functional as GF;"
        "x = torch.zeros(3, device='cpu', requires_grad=True);"
        "loss = GF.discriminator_loss(x, x, label_noise=0.1, label_flip=0.1); loss.backward();"
        "print(loss.device, x.grad.device, bool(x.grad.isfinite().all()))"
    )
    told = python(code)
    assert told.stdout == "cpu cpu True\n", told.stderr
