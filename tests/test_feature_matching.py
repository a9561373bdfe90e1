"""Feature matching against what people write, over layers and heads, in every dtype and layout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import truth

import ganfast
import ganfast.functional as GF
from ganfast import reference
from ganfast.reference.features import DistanceSpec

SHAPES = [(3, 5), (4097,), (2, 3, 4, 5), (1,), (2, 8, 33)]
BACKENDS = [*truth.backends(), "reference"]
EAGER = {"l1": F.l1_loss, "l2": F.mse_loss}


def features(dtype=torch.float64, seed=0, requires_grad=False):
    source = torch.Generator().manual_seed(seed)
    made = [torch.randn(*s, generator=source, dtype=torch.float64).to(dtype) for s in SHAPES]
    return [x.requires_grad_(requires_grad) for x in made]


def both(distance, real, fake, **options):
    loss = GF.feature_matching_loss(real, fake, distance=distance, **options)
    return loss, *torch.autograd.grad(loss, fake)


def eager(distance, real, fake):
    loss = sum(EAGER[distance](f, r) for r, f in zip(real, fake, strict=True)) / len(fake)
    return loss, *torch.autograd.grad(loss, fake)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("distance", EAGER)
@pytest.mark.parametrize("dtype", truth.DTYPES)
def test_as_torch(backend, distance, dtype):
    real, fake = features(dtype), features(dtype, 1, True)
    exact = eager(distance, [x.double() for x in real], [x.double() for x in fake])
    torchs = eager(distance, real, fake)
    with ganfast.backend(backend):
        got = both(distance, real, fake)
    assert got[0].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for mine, other, right in zip(got, torchs, exact, strict=True):
        truth.assert_as_good_as_torch(
            mine.detach(), other.detach().to(mine.dtype), right.detach(), 4.0
        )


def test_nested_heads_weights_and_sums():
    real, fake = features(), features(seed=1, requires_grad=True)
    heads = lambda x: [x[:2], (x[2], [x[3], x[4]])]  # noqa: E731
    each = torch.stack([F.l1_loss(f, r) for r, f in zip(real, fake, strict=True)])
    loss = lambda **o: GF.feature_matching_loss(heads(real), heads(fake), **o)  # noqa: E731
    torch.testing.assert_close(loss(), each.mean())
    torch.testing.assert_close(loss(reduction="sum", weights=2), 2 * each.sum())
    weights = torch.tensor([1.0, 1.0, 0.5, 3.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(loss(weights=[1.0, (0.5, [3, 4])]), (each * weights).mean())
    assert loss(weights=[0, 0]) == 0.0
    torch.testing.assert_close(GF.feature_matching_loss(real[0], fake[0]), each[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("distance", EAGER)
def test_both_orders(backend, distance):
    real, fake = features(), features(seed=1)
    for side in (real, fake):  # numerical derivatives are of each element by each
        side[:] = [x.flatten(2)[:1, :2] if x.dim() > 2 else x[:7] for x in side]
        side[:] = [x.clone().requires_grad_() for x in side]
    with ganfast.backend(backend, "reference"):
        loss = lambda *fake: GF.feature_matching_loss(real, fake, distance=distance)  # noqa: E731
        assert torch.autograd.gradcheck(loss, fake)
        assert torch.autograd.gradgradcheck(loss, fake)
    loss(*fake).backward()
    assert all(x.grad is None for x in real if x.is_leaf)


@pytest.mark.parametrize("backend", BACKENDS)
def test_kinks_and_what_is_not_finite(backend):
    inf, nan = float("inf"), float("nan")
    fake = torch.tensor([1.0, 2.0, nan, inf, inf, -3.0] * 7, requires_grad=True)
    real = torch.tensor([1.0, 1.0, 0.0, inf, 0.0, -1.0] * 7)
    with ganfast.backend(backend):
        loss = GF.feature_matching_loss(real, fake, reduction="sum", weights=42)
        (g,) = torch.autograd.grad(loss, fake)
    assert loss.isnan()
    expected = torch.tensor([0.0, 1.0, nan, nan, 1.0, -1.0] * 7)
    torch.testing.assert_close(g, expected, equal_nan=True)


def laid_out(x, layout):
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.transpose(1, 3).contiguous().transpose(1, 3)
    if layout == "sliced":
        return torch.stack([x, x], -1)[..., 0]
    return x.expand(2, *x.shape[1:]) if layout == "expanded" else x


LAYOUTS = ["contiguous", "channels_last", "transposed", "sliced"]


@pytest.mark.parametrize("mine", LAYOUTS)
@pytest.mark.parametrize("theirs", [*LAYOUTS, "expanded"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_layout(mine, theirs, backend):
    one, other = features()[0], features(seed=1)[0]
    base, target = torch.randn(2, 3, 6, 5), torch.randn(1 if theirs == "expanded" else 2, 3, 6, 5)
    fake = laid_out(base, mine).requires_grad_()
    real = laid_out(target, theirs)
    with ganfast.backend(backend):
        loss = GF.feature_matching_loss([one, real], [other, fake])
        (g,) = torch.autograd.grad(loss, fake)
    x = base.clone().requires_grad_()
    exact = (F.l1_loss(other, one) + F.l1_loss(x, target.expand_as(x))) / 2
    torch.testing.assert_close(loss, exact)
    torch.testing.assert_close(g, torch.autograd.grad(exact, x)[0])


def test_dense_layouts_are_not_copied(monkeypatch):
    if "cpu" not in truth.backends():
        pytest.skip("the C++ kernels were not built")
    from ganfast.backends.cpu import features as kernels

    monkeypatch.setattr(kernels, "_alike", lambda *pair: pytest.fail("copied"))
    for layout in LAYOUTS[:3]:
        real, fake = (laid_out(torch.randn(2, 3, 6, 5), layout) for _ in range(2))
        both("l1", [real], [fake.requires_grad_()])


@pytest.mark.parametrize("backend", BACKENDS)
def test_dtypes_that_differ_from_pair_to_pair(backend):
    """As autocast makes them: norms in float32 between convolutions in half precision."""
    dtypes = [torch.float16, torch.float32, torch.bfloat16, torch.float32, torch.float64]
    real = [x.to(t) for x, t in zip(features(), dtypes, strict=True)]
    fake = [x.to(t).requires_grad_() for x, t in zip(features(seed=1), dtypes, strict=True)]
    with ganfast.backend(backend):
        loss, *gradients = both("l2", real, fake)
        few = GF.feature_matching_loss(real[:4], fake[:4])
    assert loss.dtype == torch.float64 and few.dtype == torch.float32
    assert [g.dtype for g in gradients] == dtypes
    exact = eager("l2", [x.double() for x in real], [x.double() for x in fake])
    torch.testing.assert_close(loss, exact[0], rtol=1e-6, atol=0)
    for g, right in zip(gradients, exact[1:], strict=True):
        torch.testing.assert_close(g, right.to(g.dtype))


@pytest.mark.parametrize("distance", EAGER)
def test_only_what_needs_a_gradient_gets_one(distance):
    real, fake = features(), features(seed=1)
    fake[2].requires_grad_(), fake[4].requires_grad_()
    loss = GF.feature_matching_loss(real, fake, distance=distance)
    loss.backward(retain_graph=True)
    once = [fake[j].grad.clone() for j in (2, 4)]
    loss.backward()
    assert [x.grad is None for x in fake] == [True, True, False, True, False]
    assert all(torch.equal(2 * g, fake[j].grad) for g, j in zip(once, (2, 4), strict=True))
    assert not GF.feature_matching_loss(real, [x.detach() for x in fake]).requires_grad


def test_features_changed_before_backward_are_noticed():
    real, fake = features(), features(seed=1, requires_grad=True)
    loss = GF.feature_matching_loss(real, fake)
    real[1].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("distance", EAGER)
def test_every_instruction_set_and_number_of_threads(isa, distance, count):
    """`isa` is a fixture: each that this machine has."""
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(3, 70_001, generator=source) for _ in range(2))
    with truth.threads(count):
        again = [both(distance, [real], [fake.clone().requires_grad_()]) for _ in range(2)]
    with truth.threads(1):
        one = both(distance, [real], [fake.clone().requires_grad_()])
    exact = eager(distance, [real.double()], [fake.double().requires_grad_()])
    for first, second, third, right in zip(*again, one, exact, strict=True):
        assert torch.equal(first, second) and torch.equal(first, third)
        torch.testing.assert_close(first.double(), right)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, in jvp
@pytest.mark.parametrize("distance", EAGER)
def test_compiled_and_under_transforms(distance):
    real, fake = features(), features(seed=1, requires_grad=True)
    loss = lambda *fake: GF.feature_matching_loss(real, fake, distance=distance)  # noqa: E731
    expected = torch.autograd.grad(loss(*fake), fake)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(*fake), fake), expected)
    torch.testing.assert_close(torch.func.grad(loss)(*fake), expected[0])
    _, tangent = torch.func.jvp(loss, tuple(fake), tuple(fake))
    torch.testing.assert_close(
        tangent, sum((g * f).sum() for g, f in zip(expected, fake, strict=True)).detach()
    )


@pytest.mark.parametrize("distance", EAGER)
def test_gradients_without_memory(distance):
    """Batched gradients and torch's efficient zeros have no address that a kernel could read."""
    real, fake = features(), features(seed=1, requires_grad=True)
    loss = GF.feature_matching_loss(real, fake, distance=distance)
    one = torch.autograd.grad(loss, fake, retain_graph=True)
    many = torch.autograd.grad(
        loss,
        fake,
        torch.tensor([1.0, 0.0, -2.0]).double(),
        is_grads_batched=True,
        retain_graph=True,
    )
    for g, batch in zip(one, many, strict=True):
        torch.testing.assert_close(batch, torch.stack([g, 0 * g, -2 * g]))
    zero = torch._efficientzerotensor((), dtype=torch.float64)
    assert not any(g.any() for g in torch.autograd.grad(loss, fake, zero))


def test_a_gradient_scaled_in_half_precision():
    """grad_output is read as it is: GradScaler's 65536 does not overflow on the way."""
    real, fake = features(torch.float16), features(torch.float16, 1, True)
    loss = GF.feature_matching_loss(real, fake)
    assert loss.dtype == torch.float32
    (loss * 65536.0).backward()
    assert fake[1].grad.abs().max() == torch.tensor(65536.0 / 5 / 4097).half()


@pytest.mark.parametrize(
    ("real", "fake", "options", "message"),
    [
        ([1, 2], [1], {}, "^fake: has 1 features where real has 2"),
        ([1, [2, 3]], [1, [2]], {}, r"^fake\[1\]: has 1 features where real\[1\] has 2"),
        ([(2, 3)], [(3, 2)], {}, r"^fake\[0\]: has the shape \(3, 2\) where real\[0\] has \(2, 3"),
        ([torch.ones(2).half()], [2], {}, r"^fake\[0\]: got torch.float32 where real\[0\] is tor"),
        ([torch.ones(2).int()], [torch.ones(2).int()], {}, r"^fake\[0\]: got torch.int32; give fl"),
        ([], [], {}, "^fake: has no features"),
        ([0], [0], {}, r"^fake\[0\]: is empty \(shape \(0,\)\)"),
        ([1], torch.ones(1), {}, "^fake: got a Tensor; give the same on both sides"),
        ([1], [None], {}, r"^real\[0\]: got a Tensor; give the same on both sides"),
        ({}, {}, {}, "^real: got a dict; give tensors in lists or tuples"),
        ([1], [torch.ones(1, device="meta")], {}, r"^real\[0\]: is on cpu, others on meta"),
        ([1], [1], {"distance": "l3"}, "^distance: got 'l3'; give one of l1, l2"),
        ([1], [1], {"reduction": "none"}, "^reduction: got 'none'; give one of mean, sum"),
        ([1], [1], {"weights": "x"}, "^weights"),
        ([1], [1], {"weights": [1, 2]}, "^weights: has 2 numbers where fake has 1"),
        ([1], [1], {"weights": [[1]]}, r"^weights\[0\]: is a list where fake\[0\] is a tensor"),
        ([1], [1], {"weights": [float("nan")]}, r"^weights\[0\]: got nan; give a finite number"),
    ],
)
def test_bad_input(real, fake, options, message):
    def made(x):
        if isinstance(x, list):
            return [made(y) for y in x]
        return torch.ones(x) if isinstance(x, (int, tuple)) else x

    with pytest.raises(ValueError, match=message) as caught:
        GF.feature_matching_loss(made(real), made(fake), **options)
    assert "\n" not in str(caught.value)


def test_who_serves_in_nobodys_hurry():
    """A forced backend that refuses does not hand over in silence."""
    spec = DistanceSpec(False, (1.0,))
    x = torch.ones(3)
    assert reference.features.feature_distance((x,), (x + 1,), spec) == 3.0
    with ganfast.backend("cuda"), pytest.raises(RuntimeError, match="no kernel for this op"):
        GF.feature_matching_loss([x], [x])
