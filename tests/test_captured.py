"""ganfast.capture where there is no GPU: what it says. tests/gpu/test_gpu_capture.py captures."""

from __future__ import annotations

import pytest
import torch

import ganfast
from ganfast.errors import InputError, InputTypeError


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("inputs", [(), (torch.ones(3),)])
def test_it_needs_a_cuda_device(inputs):
    with pytest.raises(InputError, match=r"capture: got .*; a CUDA graph needs a CUDA device"):
        ganfast.capture(lambda *given: None, *inputs)


def test_wrong_arguments():
    with pytest.raises(InputTypeError, match=r"step: got 3; give a function"):
        ganfast.capture(3)
    with pytest.raises(InputError, match=r"warm_up: got 1; give a whole number of at least 2"):
        ganfast.capture(lambda: None, warm_up=1)
    with pytest.raises(InputTypeError, match=r"example_inputs\[0\]: got 2; give a tensor"):
        ganfast.capture(lambda x: None, 2)


def test_an_input_elsewhere_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError, match=r"example_inputs\[0\]: got a tensor on cpu; give a CUDA"):
        ganfast.capture(lambda x: x, torch.ones(3))
