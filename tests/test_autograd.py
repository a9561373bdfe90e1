"""How the losses behave inside a graph: retained, scaled, partial, modified, under transforms."""

from __future__ import annotations

import pytest
import torch
import truth
from truth import LOSSES

import ganfast
import ganfast.functional as GF

BACKENDS = [*truth.backends(), "reference"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    with ganfast.backend(request.param):
        yield request.param


@pytest.mark.parametrize("name", LOSSES)
def test_retained_graph_twice(name, backend):
    real, fake = torch.randn(40, requires_grad=True), torch.randn(30, requires_grad=True)
    loss = LOSSES[name](real, fake)
    first = torch.autograd.grad(loss, (real, fake), retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(loss, (real, fake), allow_unused=True)
    for a, b in zip(first, second, strict=True):
        assert a is b is None or (torch.equal(a, b) and a.data_ptr() != b.data_ptr())


@pytest.mark.parametrize("name", LOSSES)
def test_not_the_last_op(name, backend):
    """grad_output is whatever comes, not 1: also negative, also zero."""
    real, fake = torch.randn(40, requires_grad=True), torch.randn(30, requires_grad=True)
    plain = torch.autograd.grad(LOSSES[name](real, fake), (real, fake), allow_unused=True)
    for factor in (3.0, -0.5, 0.0):
        loss = factor * LOSSES[name](real, fake)
        for a, b in zip(
            torch.autograd.grad(loss, (real, fake), allow_unused=True), plain, strict=True
        ):
            assert a is b is None or torch.allclose(a, factor * b)


@pytest.mark.parametrize("name", [name for name in LOSSES if name.endswith("D")])
@pytest.mark.parametrize("needs", [(True, False), (False, True), (False, False)])
def test_one_side_only(name, needs, backend):
    real, fake = torch.randn(40), torch.randn(30)
    both = [real.clone().requires_grad_(), fake.clone().requires_grad_()]
    expected = torch.autograd.grad(LOSSES[name](*both), both)
    some = [x.clone().requires_grad_(need) for x, need in zip((real, fake), needs, strict=True)]
    loss = LOSSES[name](*some)
    assert loss.requires_grad == any(needs)
    torch.testing.assert_close(loss.detach(), LOSSES[name](*both).detach())
    if any(needs):
        loss.backward()
    for x, need, gradient in zip(some, needs, expected, strict=True):
        assert (x.grad is not None) == need
        if need:
            torch.testing.assert_close(x.grad, gradient)


def test_same_tensor_on_both_sides(backend):
    x = torch.randn(50, requires_grad=True)
    (gradient,) = torch.autograd.grad(GF.discriminator_loss(x, x), x)
    s = torch.sigmoid(x.detach())
    torch.testing.assert_close(gradient, (2 * s - 1) / 50)


def test_logits_changed_before_backward_are_noticed(backend):
    x = torch.randn(50, requires_grad=True)
    y = x * 1
    loss = GF.generator_loss(y)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_inputs_are_left_alone(backend):
    real, fake = torch.randn(50, requires_grad=True), torch.randn(50, requires_grad=True)
    copies = real.detach().clone(), fake.detach().clone()
    for loss in LOSSES.values():
        loss(real, fake).backward()
    assert torch.equal(real, copies[0]) and torch.equal(fake, copies[1])
    assert real._version == fake._version == 0


def test_no_grad_gives_a_plain_tensor(backend):
    x = torch.randn(50, requires_grad=True)
    with torch.no_grad():
        assert not GF.generator_loss(x).requires_grad
    with torch.inference_mode():
        assert torch.isfinite(GF.discriminator_loss(x, x))


@pytest.mark.parametrize("name", LOSSES)
def test_func_grad_and_vmap(name):
    """torch.func goes through the reference by itself: kernels know nothing of transforms."""
    real, fake = torch.randn(4, 9), torch.randn(4, 7)
    real_leaf, fake_leaf = (x.clone().requires_grad_() for x in (real, fake))
    each = torch.stack([LOSSES[name](r, f) for r, f in zip(real_leaf, fake_leaf, strict=True)])
    gradients = torch.autograd.grad(each.sum(), fake_leaf)[0]
    per_row = torch.func.vmap(torch.func.grad(LOSSES[name], argnums=1))(real, fake)
    torch.testing.assert_close(per_row, gradients)
    torch.testing.assert_close(torch.func.vmap(LOSSES[name])(real, fake), each.detach())


# torch 2.13's own forward-mode rules are in TorchScript, whose import warns that it is deprecated.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize("name", LOSSES)
def test_forward_mode(name):
    real, fake = (torch.randn(9, dtype=torch.float64) for _ in range(2))
    tangents = torch.randn_like(real), torch.randn_like(fake)
    _, tangent = torch.func.jvp(LOSSES[name], (real, fake), tangents)
    leaves = [x.clone().requires_grad_() for x in (real, fake)]
    gradients = torch.autograd.grad(LOSSES[name](*leaves), leaves, allow_unused=True)
    expected = sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True) if g is not None)
    torch.testing.assert_close(tangent, expected)


def test_a_forced_kernel_refuses_a_transform():
    for backend in truth.backends():
        with ganfast.backend(backend), pytest.raises(RuntimeError, match="torch.func transform"):
            torch.func.grad(lambda x: GF.generator_loss(x))(torch.randn(3))


def test_subclass_is_served_by_the_reference():
    class Tagged(torch.Tensor):
        pass

    x = torch.randn(10).as_subclass(Tagged)
    assert isinstance(GF.generator_loss(x), Tagged)


x64 = torch.linspace(-2, 2, 12, dtype=torch.float64).view(4, 3)
DIFFERENTIATED = {
    **{name: lambda x, loss=loss: loss(x, x * 2) for name, loss in LOSSES.items()},
    "none": lambda x: GF.generator_loss(x, reduction="none"),
    "pair": lambda x: GF.discriminator_loss(x, x64, reduction="none")[0],
    "penalty": lambda x: GF.penalty_from_gradient(x),
    "interpolate": lambda x: GF.interpolate(
        x, x64.flip(0), generator=torch.Generator().manual_seed(0)
    ),
    "sqrtm": lambda x: ganfast.linalg.sqrtm(x.mT @ x),
    "trace": lambda x: ganfast.linalg.trace_sqrtm(x.mT @ x, x64.flip(0).mT @ x64.flip(0)),
    "features": lambda x: ganfast.linalg.frechet_distance_from_features(x, x64.flip(0)[:3].exp()),
}


@pytest.fixture(params=DIFFERENTIATED)
def graph(request):
    """A leaf, what was computed of it, and that value's Jacobian times any grad_output."""
    x = (x64**3 + 1).sin().requires_grad_()
    value = DIFFERENTIATED[request.param](x)

    def vjp(v, **options):
        return torch.autograd.grad(value, x, v, retain_graph=True, **options)[0]

    return x, value, vjp


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_zero_tensor_as_grad_output_gives_zero(graph, create_graph):
    """torch's own derivatives hand them over; they have no memory at all."""
    _, value, vjp = graph
    zero = torch._efficientzerotensor(value.shape, dtype=value.dtype)
    assert not vjp(zero, create_graph=create_graph).any()


def test_a_batch_of_grad_outputs(graph):
    _, value, vjp = graph
    v = torch.randn(3, *value.shape, dtype=value.dtype)
    batched = vjp(v, is_grads_batched=True)
    torch.testing.assert_close(batched, torch.stack([vjp(one) for one in v]))


def test_a_dual_grad_output_keeps_its_tangent(graph):
    _, value, vjp = graph
    v, tangent = torch.randn(2, *value.shape, dtype=value.dtype)
    with torch.autograd.forward_ad.dual_level():
        dual = vjp(torch.autograd.forward_ad.make_dual(v, tangent))
        primal, derivative = torch.autograd.forward_ad.unpack_dual(dual)
    torch.testing.assert_close(primal, vjp(v))
    torch.testing.assert_close(derivative, vjp(tangent))  # the product is linear in v
