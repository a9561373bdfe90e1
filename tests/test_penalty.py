"""The penalty given a gradient: its value, its gradient, the derivative of that, at every edge."""

from __future__ import annotations

import pytest
import torch
import truth
from torch.autograd import gradcheck, gradgradcheck

import ganfast
import ganfast.functional as GF
from ganfast import _dispatch, reference
from ganfast.reference.penalty import PenaltySpec

KERNELS = truth.backends()
BACKENDS = [*KERNELS, "reference"]
SHAPES = [(1, 7), (5,), (64, 2), (300, 1), (5, 3, 8, 8), (3, 2048), (2, 2049), (2, 3, 50, 50)]
OPTIONS = {
    "two-sided": {},
    "one-sided": {"one_sided": True, "target": 2.0},
    "zero-centred": {"target": 0.0, "weight": 5.0},
    "zero-centred one-sided": {"target": 0.0, "one_sided": True},
    "groups": {"group_size": 2, "weight": 3.0},
}


def by_hand(x, target=1.0, one_sided=False, weight=1.0, group_size=1):
    """As a user writes it, without a thought for zero."""
    norms = x.reshape(len(x) // group_size, -1).norm(2, dim=1)
    excess = norms - target
    return weight * (excess.clamp(min=0) if one_sided else excess).square().mean()


def exactly(x, target=1.0, one_sided=False, weight=1.0, group_size=1):
    """The same by torch's pairwise sums: in float64 within a rounding, which its norm() is not."""
    norms = x.reshape(len(x) // group_size, -1).square().sum(1).sqrt()
    excess = norms - target
    return weight * (excess.clamp(min=0) if one_sided else excess).square().mean()


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("dtype", truth.DTYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_gradient(shape, options, dtype, backend):
    options = dict(OPTIONS[options])
    if shape[0] % options.get("group_size", 1):
        options["group_size"] = shape[0]
    x = torch.randn(shape).to(dtype).requires_grad_()
    wide = x.detach().double().requires_grad_()
    expected = exactly(wide, **options)
    (slope,) = torch.autograd.grad(expected, wide)
    with ganfast.backend(backend):
        value = GF.penalty_from_gradient(x, **options)
        (gradient,) = torch.autograd.grad(value, x)
    # What torch makes of the same numbers in float32, in which half precision is computed.
    narrow = x.detach().to(value.dtype).requires_grad_()
    torchs = by_hand(narrow, **options)
    (torch_slope,) = torch.autograd.grad(torchs, narrow)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    norms = wide.detach().reshape(len(x) // options.get("group_size", 1), -1).norm(dim=1)
    size = options.get("weight", 1.0) * (norms.max() + options.get("target", 1.0)) ** 2
    truth.assert_as_good_as_torch(value.detach(), torchs.detach(), expected.detach(), size)
    truth.assert_as_good_as_torch(gradient, torch_slope.to(dtype), slope, 4 * slope.abs().max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_norm_is_over_all_dimensions_of_each_sample(backend):
    """Not over the whole batch (torchgan), nor over the channels alone (BasicSR, PyTorch-GAN)."""
    x = 3 * torch.randn(4, 3, 8, 8)
    with ganfast.backend(backend):
        got = GF.penalty_from_gradient(x, return_norms=True)
    norms = [float(sample.double().square().sum()) ** 0.5 for sample in x]
    assert float(got.penalty) == pytest.approx(sum((r - 1) ** 2 for r in norms) / 4, rel=1e-6)
    assert float(got.mean_norm) == pytest.approx(sum(norms) / 4, rel=1e-6)
    assert float(got.max_norm) == pytest.approx(max(norms), rel=1e-6)
    whole = (float(x.double().norm()) - 1) ** 2
    channels = float((x.double().norm(dim=1) - 1).square().mean())
    assert abs(float(got.penalty) - whole) > 1 and abs(float(got.penalty) - channels) > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_norms_are_detached(backend):
    x = torch.randn(4, 3, requires_grad=True)
    with ganfast.backend(backend):
        got = GF.penalty_from_gradient(x, return_norms=True)
    assert got.penalty.requires_grad
    assert not got.mean_norm.requires_grad and not got.max_norm.requires_grad
    got.penalty.backward()
    assert x.grad is not None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_gradcheck_and_gradgradcheck(scale, options, backend):
    x = (scale * torch.randn(4, 2, 3, dtype=torch.float64)).requires_grad_()

    def call(x):
        return GF.penalty_from_gradient(x, **OPTIONS[options])

    def chained(x):  # not the last operation, so that grad_output takes part
        return call(x.sin()).exp()

    with ganfast.backend(backend):
        for function in (call, chained):
            assert gradcheck(function, (x,))
            assert gradgradcheck(function, (x,))


@pytest.mark.parametrize("backend", BACKENDS)
def test_third_order(backend):
    """Past what the kernels do themselves."""
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)

    def gradient(x):
        (g,) = torch.autograd.grad(GF.penalty_from_gradient(x), x, create_graph=True)
        return g.square().sum()

    with ganfast.backend(backend):
        assert gradcheck(gradient, (x,))
        assert gradgradcheck(gradient, (x,))


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("dtype", truth.DTYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(4, 3), (6, 3, 20, 20), (2, 3, 50, 50)])
def test_second_order_product(shape, options, dtype, backend):
    """The kernel against autograd through the formula written by hand, in float64."""
    options = OPTIONS[options]
    spec = PenaltySpec(
        options.get("target", 1.0), options.get("one_sided", False), options.get("weight", 1.0),
        options.get("group_size", 1),
    )  # fmt: skip
    x, v = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)

    def differentiated(x, v, grad):
        x, grad = x.detach().requires_grad_(), grad.detach().requires_grad_()
        (g,) = torch.autograd.grad(grad * exactly(x, **options), x, create_graph=True)
        return torch.autograd.grad((v * g).sum(), (grad, x))

    module = backend_module(backend, x)
    value, norms = module.penalty(x, spec)
    grad = torch.full_like(value, 0.7)
    ours = module.penalty_second_order(v, grad, x, norms, spec)
    wide = differentiated(x.double(), v.double(), grad.double())
    torchs = differentiated(x.to(value.dtype), v.to(value.dtype), grad)
    sizes = (v.double().norm() * x.double().norm() * spec.weight, 4 * wide[1].abs().max())
    for got, torch_got, expected, size in zip(ours, torchs, wide, sizes, strict=True):
        truth.assert_as_good_as_torch(got, torch_got.to(got.dtype), expected, size)


def backend_module(name, x):
    with ganfast.backend(name):
        return _dispatch.serve("penalty_from_gradient", (x,))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", truth.DTYPES)
@pytest.mark.parametrize("one_sided", [False, True])
def test_a_zero_gradient(one_sided, dtype, backend):
    """sqrt at zero makes NaN elsewhere (keras-io #910, pytorch #2421); a sample of zeros has the
    penalty target^2 and passes nothing back, and disturbs no other sample."""
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    with ganfast.backend(backend):
        value = GF.penalty_from_gradient(x, one_sided=one_sided)
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), x)
    assert value.item() == (8.0 if one_sided else 8.5)
    expected = torch.tensor([[0.0, 0.0], [2.4, 3.2]], dtype=dtype)
    torch.testing.assert_close(gradient.detach(), expected)
    assert second.isfinite().all() and second[0].eq(0).all() and second[1].ne(0).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_zero_gradient_with_target_zero_is_smooth(backend):
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    with ganfast.backend(backend):
        value = GF.penalty_from_gradient(x, target=0.0)
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), x)
    assert value == 0 and gradient.eq(0).all()
    assert torch.equal(second, torch.ones_like(x))  # of ||g||^2 / n: 2/n, here 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype, backend):
    """A square of 300 overflows in float16, and an eps of 1e-16 under the root is nothing there."""
    x = torch.full((8, 3, 64, 64), 6e4).to(dtype).requires_grad_()
    with ganfast.backend(backend):
        value = GF.penalty_from_gradient(x)
        (gradient,) = torch.autograd.grad(value, x)
    norm = float(x.detach()[0].double().norm())
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx((norm - 1) ** 2, rel=1e-5)
    assert gradient.isfinite().all()
    assert float(gradient[0, 0, 0, 0]) == pytest.approx(2 / 8 * 6e4, rel=1e-2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_not_a_number_stays_one(backend):
    x = torch.tensor([[float("nan"), 1.0], [3.0, 4.0]], requires_grad=True)
    with ganfast.backend(backend):
        for options in OPTIONS.values():
            value = GF.penalty_from_gradient(x, **options)
            (gradient,) = torch.autograd.grad(value, x)
            assert value.isnan() and gradient[0].isnan().any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_below_the_target_a_one_sided_penalty_is_nothing(backend):
    x = torch.tensor([[0.3, 0.4], [0.6, 0.8]], dtype=torch.float64, requires_grad=True)
    with ganfast.backend(backend):
        value = GF.penalty_from_gradient(x, one_sided=True)
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    assert value == 0 and gradient.abs().max() < 1e-15


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "layout", ["channels_last", "batch_inside", "slice", "expanded", "negative"]
)
def test_layouts(layout, backend):
    x = torch.randn(4, 3, 6, 5, dtype=torch.float64)
    views = {
        "channels_last": x.to(memory_format=torch.channels_last),
        "batch_inside": x.movedim(0, -1).contiguous().movedim(-1, 0),
        "slice": torch.randn(4, 3, 6, 10, dtype=torch.float64)[..., ::2],
        "expanded": x[:1].expand(4, 3, 6, 5),
        "negative": torch.complex(x, x).conj().imag,  # a pending negation
    }
    x = views[layout]
    v = torch.randn(4, 3, 6, 5, dtype=torch.float64)
    results = []
    for y in (x, x.clone(memory_format=torch.contiguous_format)):
        y = y.detach().requires_grad_()
        with ganfast.backend(backend):
            value = GF.penalty_from_gradient(y, target=2.0)
            (g,) = torch.autograd.grad(value, y, create_graph=True)
            (second,) = torch.autograd.grad(g, y, v)
        results.append((value.detach(), g.detach(), second))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("shape", [(64, 2), (3, 70_000), (200, 900)])
def test_threads_change_no_bit(shape, backend):
    x, v = torch.randn(shape), torch.randn(shape)
    results = []
    for count in (1, 2):
        with truth.threads(count), ganfast.backend(backend):
            y = x.clone().requires_grad_()
            value = GF.penalty_from_gradient(y)
            (g,) = torch.autograd.grad(value, y, create_graph=True)
            results.append((value, g, *torch.autograd.grad(g, y, v)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_retained_graph_twice_and_a_changed_input(backend):
    x = torch.randn(5, 4, requires_grad=True)
    y = x * 1.0
    with ganfast.backend(backend):
        value = GF.penalty_from_gradient(y)
        first, second = (torch.autograd.grad(value, x, retain_graph=True)[0] for _ in range(2))
        assert torch.equal(first, second)
        y.detach().add_(1.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_samples_have_norm_zero(backend):
    with ganfast.backend(backend):
        assert GF.penalty_from_gradient(torch.empty(3, 0), target=2.0) == 4.0


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_transforms_use_the_reference():
    x = torch.randn(4, 3, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(GF.penalty_from_gradient(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(GF.penalty_from_gradient)(x), expected)
    batched = torch.vmap(GF.penalty_from_gradient)(x.expand(2, 4, 3))
    torch.testing.assert_close(batched, GF.penalty_from_gradient(x).expand(2))
    _, slope = torch.func.jvp(GF.penalty_from_gradient, (x,), (expected,))
    torch.testing.assert_close(slope, expected.square().sum())
    with ganfast.backend("cpu" if "cpu" in KERNELS else "triton"), pytest.raises(RuntimeError):
        torch.func.grad(GF.penalty_from_gradient)(x)


@pytest.mark.parametrize(
    ("grad", "options", "message"),
    [
        (torch.zeros(0, 3), {}, "grad: has no samples"),
        (torch.zeros(3).long(), {}, "grad: got torch.int64"),
        (torch.zeros(()), {}, "grad: got a tensor without dimensions"),
        (torch.zeros(3), {"target": -1.0}, "target: got -1.0"),
        (torch.zeros(3), {"target": float("nan")}, "target: got nan"),
        (torch.zeros(3), {"weight": float("inf")}, "weight: got inf"),
        (torch.zeros(3), {"weight": "10"}, "weight: got '10'"),
        (torch.zeros(3), {"one_sided": 2}, "one_sided: got 2"),
        (torch.zeros(3), {"group_size": 2}, "group_size: got 2 for 3 samples"),
        (torch.zeros(3), {"group_size": [1]}, "group_size"),
    ],
)
def test_bad_input(grad, options, message):
    with pytest.raises(ValueError, match=message):
        GF.penalty_from_gradient(grad, **options)


def test_not_a_tensor():
    with pytest.raises(TypeError, match="grad: got a tuple"):
        GF.penalty_from_gradient((torch.zeros(3),))


def test_reference_second_order_is_the_derivative_of_its_gradient():
    """The formula that the kernels follow, against autograd through the reference's gradient."""
    for options in OPTIONS.values():
        spec = PenaltySpec(
            options.get("target", 1.0), options.get("one_sided", False),
            options.get("weight", 1.0), options.get("group_size", 1),
        )  # fmt: skip
        x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
        grad = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        v = torch.randn(4, 5, dtype=torch.float64)
        _, norms = reference.penalty.penalty(x, spec)
        g = reference.penalty.penalty_gradient(grad, x, norms, spec)
        expected = torch.autograd.grad((g * v).sum(), (grad, x))
        torch.testing.assert_close(
            reference.penalty.penalty_second_order(v, grad, x, norms, spec), expected
        )


@pytest.mark.skipif("cpu" not in KERNELS, reason="the C++ kernels were not built")
@pytest.mark.parametrize("dtype", truth.DTYPES)
@pytest.mark.parametrize("shape", [(6, 3), (6, 31), (2, 5000)])
def test_every_instruction_set(shape, dtype):
    from ganfast import _cpu

    x, y = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    spec = PenaltySpec(0.5, False, 2.0, 1)
    best, cpu = _cpu.isa(), backend_module("cpu", x)

    def results(module):
        value, norms = module.penalty(x, spec)
        gradients = module.penalty_gradient(value, x, norms, spec)
        second = module.penalty_second_order(y, value, x, norms, spec)
        mixed = module.interpolate(x, y, 9, 2)
        return (
            value,
            norms,
            gradients,
            *second,
            mixed,
            *module.interpolate_gradient(x, 9, 1, (True, True)),
        )

    try:
        for isa in _cpu.supported_isas():
            _cpu.use_isa(isa)
            for got, expected in zip(results(cpu), results(reference.penalty), strict=True):
                torch.testing.assert_close(got, expected)
    finally:
        _cpu.use_isa(best)


def test_another_default_device():
    """Nothing that we make for CPU samples may land on torch's default device."""
    critic, x = torch.nn.Linear(3, 1), torch.randn(4, 3)
    torch.set_default_device("meta")
    try:
        for backend in BACKENDS:
            with ganfast.backend(backend):
                value = GF.gradient_penalty(critic, x, x)
            assert value.device.type == "cpu" and value.isfinite()
        value = GF.finite_difference_penalty(critic, x, sigma=0.1)
        assert value.device.type == "cpu"
    finally:
        torch.set_default_device(None)
