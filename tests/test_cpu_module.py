"""ganfast._cpu as Python sees it: its stub, how it reads tensors, and how it says no."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
import truth
from torch import nn

import ganfast
import ganfast.functional as GF
from ganfast.errors import NoState, Refusal
from ganfast.games import GAMES
from ganfast.metrics import Moments
from ganfast.metrics.preprocessing import preprocess

pytestmark = pytest.mark.skipif(
    "cpu" not in truth.backends(), reason="the C++ kernels were not built"
)


@pytest.fixture
def by_attributes():
    """Tensors are read as under a torch that has no DLPack exchange API."""
    from ganfast import _cpu

    assert _cpu.use_exchange_api(False) is False
    yield
    _cpu.use_exchange_api(True)


def test_the_stub_is_what_was_built():
    """Each function's documentation begins with its signature, made from its types in C++."""
    from ganfast import _cpu

    built = [value.__doc__.splitlines()[0] for value in vars(_cpu).values() if callable(value)]
    expected = ast.unparse(ast.parse("\n".join(f"def {line}: ..." for line in sorted(built))))
    stub = ast.parse(Path(ganfast.__file__).with_name("_cpu.pyi").read_text())
    declared = [node for node in stub.body if isinstance(node, ast.FunctionDef)]
    assert ast.unparse(declared) == expected  # where it is not: copy these lines there


def results():
    """What every kernel makes of tensors in several layouts, on both sides of the grain."""
    torch.manual_seed(0)
    found = []
    for n in (7, 70_000):
        for x in (torch.randn(n, 2), torch.randn(2, n).T, torch.randn(n, 4)[:, ::2]):
            x.requires_grad_()
            for game in GAMES:
                for reduction in ("mean", "none"):
                    noise = {"label_noise": 0.1} if GAMES[game].soft_labels else {}
                    generator = torch.Generator().manual_seed(1)
                    out = GF.discriminator_loss(
                        x, x[:5] * 2, game=game, reduction=reduction, generator=generator, **noise
                    )
                    out = (out,) if reduction == "mean" else out
                    found += [*out, *torch.autograd.grad(out, x, [o.detach() for o in out])]
            gradient = torch.autograd.grad(GF.penalty_from_gradient(x), x, create_graph=True)[0]
            found += [gradient, torch.autograd.grad(gradient, x, gradient.detach() * 2)[0]]
            points = GF.interpolate(x, x.detach() + 1, generator=torch.Generator().manual_seed(2))
            found += [points, torch.autograd.grad(points, x, x.detach())[0]]
    for dtype in (torch.float64, torch.bfloat16):
        found.append(GF.generator_loss(torch.randn(9).to(dtype)))
    for kind in (ganfast.optim.RMSprop, ganfast.optim.Adam):
        weights = [
            nn.Parameter(x) for x in (torch.randn(5, 3), torch.randn(3, 4).T, torch.randn(()))
        ]
        optimizer = kind(weights, lr=0.1, weight_clip=0.5)
        for _ in range(2):
            for p in weights:
                p.grad = torch.ones_like(p)
            optimizer.step()
        found += [p.detach() for p in weights]
        found.append(GF.clip_weights_(weights, 0.2, return_fraction=True))
    images = torch.randint(256, (2, 3, 9, 8), dtype=torch.uint8)
    found += [preprocess(images.permute(0, 2, 3, 1), "clean", size=12)]
    moments = Moments(6)
    for rows in (torch.randn(8, 6), torch.randn(6, 8).T, torch.randn(3, 6).half()):
        moments.update(rows)
    batch = torch.randn(5, 4, 4, dtype=torch.float64)
    batch = batch @ batch.mT
    found += [
        moments.covariance,
        ganfast.linalg.sqrtm(batch),
        ganfast.linalg.trace_sqrtm(batch, batch),
    ]
    return [x.detach() for x in found]


def test_without_the_exchange_api_the_same_bits(request):
    with ganfast.backend("cpu"):
        expected = results()
        request.getfixturevalue("by_attributes")
        for got, other in zip(results(), expected, strict=True):
            assert torch.equal(got, other) and got.stride() == other.stride()


class Labels(torch.Tensor):
    pass


REFUSED = {
    "transposed": (torch.ones(4, 2).T, "is not contiguous"),
    "negated": (torch.ones(1, dtype=torch.cfloat).conj().imag, "has a pending negation"),
    "sparse": (torch.ones(2, 2).to_sparse(), "has no strided memory on the CPU"),
    "meta": (torch.ones(3, device="meta"), "has no strided memory on the CPU"),
    "complex": (torch.ones(3, dtype=torch.cfloat), "has a dtype that no kernel takes"),
    "integer": (
        torch.ones(3, dtype=torch.int32),
        "has another dtype than the kernel or the others",
    ),
    "subclass": (torch.ones(3).as_subclass(Labels), "is a Labels, not a plain tensor"),
    "number": (5, "is a int, not a plain tensor"),
}


@pytest.mark.parametrize("fixture", ["by_attributes", None])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_names_the_argument_and_its_fault(kind, fixture, request):
    from ganfast import _cpu

    if fixture:
        request.getfixturevalue(fixture)
    x, reason = REFUSED[kind]
    loss, out = _cpu.loss(0, "mean", 1, (1.0, 0.0), 0.0, 0.0, False), torch.zeros(())
    with pytest.raises(Refusal) as refused:
        _cpu.loss_value(loss, None, (torch.ones(3), x), (out,), None)
    assert str(refused.value) == f"logits[1] {reason}" and out == 0


def test_what_has_another_layout_than_its_partner():
    from ganfast import _cpu

    x, other = torch.ones(4, 2), torch.ones(2, 4).T
    with pytest.raises(Refusal, match=r"^fake is laid out otherwise in memory$"):
        _cpu.interpolate(1, 1, x, other, torch.empty_like(x))
    with pytest.raises(Refusal, match=r"^real has samples that are not rows of memory$"):
        _cpu.interpolate(1, 1, other, other, torch.empty_like(other))
    with pytest.raises(Refusal, match=r"^tensors\[1\] is not dense in memory$"):
        _cpu.clip_weights([x, torch.ones(4, 2)[:, ::2]], 0.5, False)
    assert (x == 1).all()


@pytest.mark.parametrize(
    "arguments", [(), (1,), ("no loss", None, (), (), None), (None, "x", 1, 2, None)], ids=repr
)
def test_nonsense_is_a_python_error(arguments):
    from ganfast import _cpu

    with pytest.raises((TypeError, ValueError)):
        _cpu.loss_value(*arguments)


def test_a_state_that_is_not_there_yet():
    from ganfast import _cpu

    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    for step, kind in ((_cpu.rmsprop, ganfast.optim.RMSprop), (_cpu.adam, ganfast.optim.Adam)):
        optimizer = kind([p])
        with pytest.raises(Refusal) as refused:
            step(optimizer)
        assert isinstance(refused.value, NoState) and "no state yet" in str(refused.value)
        optimizer.step()
        for name, array in optimizer.state[p].items():
            if array.dim():
                optimizer.state[p][name] = array.repeat(2)[::2]
                with pytest.raises(Refusal, match=rf"^{name}\[0\] has another layout"):
                    step(optimizer)
                optimizer.state[p][name] = array
        optimizer.param_groups[0]["capturable"] = True
        with pytest.raises(Refusal, match="^capturable is set"):
            step(optimizer)
    assert p.grad is not None
