"""ganfast.capture where there is no GPU: what it says. tests/gpu/test_gpu_capture.py captures."""

from __future__ import annotations

import pytest
import torch

import ganfast
from ganfast.errors import InputError, InputTypeError
from ganfast.optim.capturing import Kept, check


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


@pytest.mark.parametrize("kind", [ganfast.optim.Adam, ganfast.optim.RMSprop, torch.optim.Adam])
def test_what_of_an_optimizer_a_graph_would_keep(kind):
    weight = torch.nn.Parameter(torch.ones(3, device="meta"))
    weight.grad = torch.ones_like(weight)

    def told(pattern, **options):
        with pytest.raises(InputError, match=pattern):
            check(kind([weight], **options))

    told(f"capturable: got False for {kind.__name__} .* give capturable=True")
    told(f"state: got none for {kind.__name__} .* take a step before", capturable=True)
    told("lr: got a tensor on the CPU", capturable=True, lr=torch.tensor(0.1))
    optimizer = kind([weight], capturable=True)
    optimizer.state[weight]["step"] = torch.ones(())
    with pytest.raises(InputError, match="step: got a counter on the host .* take a step before"):
        check(optimizer)
    optimizer.state[weight]["step"] = torch.ones((), device="meta")
    check(optimizer)
    torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    with pytest.raises(InputError, match=r"lr: got 0.\d+, a number that a scheduler changes"):
        check(optimizer)


def test_what_has_no_such_options_may_be_captured():
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones_like(weight)
    check(torch.optim.SGD([weight], lr=0.1))


def test_options_after_the_capture():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = ganfast.optim.Adam([weight], lr=0.5, weight_clip=1.0)
    kept = Kept([optimizer, optimizer])
    kept.check()
    optimizer.param_groups[0]["lr"] = 0.25
    with pytest.raises(InputError, match="lr: got 0.25, but the captured step has 0.5; give lr as"):
        kept.check()
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    with pytest.raises(InputError, match="lr: got tensor"):
        kept.check()
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    with pytest.raises(InputError, match="Adam: got another parameter group after the capture"):
        kept.check()
