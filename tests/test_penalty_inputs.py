"""Penalties of critics that take several tensors: one eps and one norm for each sample of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
import truth
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

import ganfast
import ganfast.functional as GF
from ganfast import _philox, reference

BACKENDS = [*truth.backends(), "reference"]


class Graph(NamedTuple):
    adjacency: torch.Tensor
    features: torch.Tensor


FORMS = {
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "named tuple": Graph,
    "dict": lambda a, b: {"adjacency": a, "features": b},
    "ordered dict": lambda a, b: OrderedDict(adjacency=a, features=b),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pair_of(inputs):
    return tuple(inputs.values()) if isinstance(inputs, dict) else tuple(inputs)


class Critic(nn.Module):
    """Of (n, 2, 3) and (n, 4), in any form; neither input counts alone."""

    def __init__(self, width=5):
        super().__init__()
        self.one, self.two = nn.Linear(6, width), nn.Linear(4, width)
        self.seen = []

    def forward(self, inputs, scale=1.0):
        self.seen.append(inputs)
        a, b = pair_of(inputs)
        return scale * (self.one(a.flatten(1)).tanh() * self.two(b).sigmoid()).sum(1)


def samples(n=6, dtype=torch.float64):
    return [torch.randn(n, 2, 3, dtype=dtype), torch.randn(n, 4, dtype=dtype)]


def by_hand(critic, inputs, weight=10.0, target=1.0, groups=None):
    """The penalty in plain autograd: one sum of squares over all inputs of a sample."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    gradients = torch.autograd.grad(critic(leaves).sum(), leaves, create_graph=True)
    n = groups or len(leaves[0])
    squares = sum(g.reshape(n, -1).square().sum(1) for g in gradients)
    return weight * (squares.sqrt() - target).square().mean()


def weight_gradients(critic, value):
    return torch.autograd.grad(value, list(critic.parameters()), allow_unused=True)


def assert_same(critic, got, expected):
    torch.testing.assert_close(got, expected)
    for a, b in zip(weight_gradients(critic, got), weight_gradients(critic, expected), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", FORMS)
def test_one_eps_for_each_sample_of_all_inputs(form, backend):
    shapes = (64, 3, 4, 4), (64, 3, 2, 2)
    real = FORMS[form](*(torch.ones(shape) for shape in shapes))
    fake = FORMS[form](*(torch.zeros(shape) for shape in shapes))
    with ganfast.backend(backend):
        points = GF.interpolate(real, fake, generator=seeded())
    assert type(points) is type(real)
    eps = reference.penalty.epsilon(
        torch.ones(64, 1), _philox.new_key(torch.device("cpu"), seeded()), 1
    )
    for x in pair_of(points):
        assert torch.equal(x.flatten(1), eps.expand(64, x[0].numel()))
    assert eps.unique().numel() == 64


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_interpolation_is_differentiated_twice(backend):
    def call(a, b, c, d):
        return tuple(GF.interpolate([a, b], [c, d], group_size=2, generator=seeded()))

    shapes = ((4, 1, 2), (4, 1)) * 2
    inputs = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    with ganfast.backend(backend):
        assert gradcheck(call, inputs)
        assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("at", ["interpolated", "real", "fake", "both"])
@pytest.mark.parametrize("form", FORMS)
def test_value_and_weight_gradients(form, at):
    critic = Critic().double()
    real, fake = samples(), samples()
    between = GF.interpolate(real, fake, generator=seeded())
    points = {"interpolated": [between], "real": [real], "fake": [fake], "both": [real, fake]}[at]
    make = FORMS[form]
    value = GF.gradient_penalty(critic, make(*real), make(*fake), at=at, generator=seeded())
    assert all(type(seen) is type(make(*real)) for seen in critic.seen), "in the form that is given"
    assert_same(critic, value, sum(by_hand(critic, x) for x in points))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_the_penalty_is_differentiated_twice(target, backend):
    critic, real, fake = Critic(2).double(), samples(3), samples(3)
    names = [name for name, _ in critic.named_parameters()]

    def penalty(*weights):
        def critic_of(inputs):
            return torch.func.functional_call(
                critic, dict(zip(names, weights, strict=True)), (inputs,)
            )

        return GF.gradient_penalty(critic_of, real, fake, target=target, generator=seeded())

    weights = [p.detach().clone().requires_grad_() for p in critic.parameters()]
    with ganfast.backend(backend):
        assert gradcheck(penalty, weights)
        assert gradgradcheck(penalty, weights)


def test_one_tensor_in_a_list_is_that_tensor():
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    real, fake = torch.randn(6, 3).double(), torch.randn(6, 3).double()
    alone = GF.gradient_penalty(net, real, fake, generator=seeded())
    listed = GF.gradient_penalty(lambda xs: net(xs[0]), [real], [fake], generator=seeded())
    assert_same(net, listed, alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_scales_of_images(layout, dtype):
    """BMSG-GAN: the same images in several sizes, laid out in any way."""
    nets = nn.ModuleList(nn.Conv2d(3, 1, size).double() for size in (8, 4))
    real = [torch.randn(5, 3, size, size).to(dtype, memory_format=layout) for size in (8, 4)]
    fake = [torch.randn_like(x) for x in real]

    def critic(scales):
        return sum(net(x.double()).flatten().tanh() for net, x in zip(nets, scales, strict=True))

    value = GF.gradient_penalty(critic, real, fake, at="fake")
    assert value.dtype == torch.float32
    tolerance = {} if dtype is torch.float32 else {"rtol": 2e-2, "atol": 1e-4}
    torch.testing.assert_close(value, by_hand(critic, fake).float(), **tolerance)


def test_groups_share_eps_and_the_norm():
    net = nn.Linear(20, 1).double()

    def pacs(inputs):
        together = torch.cat([x.flatten(1) for x in inputs], 1)
        return net(together.reshape(len(together) // 2, -1)).tanh()

    real, fake = samples(8), samples(8)
    points = GF.interpolate(real, fake, group_size=2, generator=seeded())
    value = GF.gradient_penalty(pacs, real, fake, group_size=2, generator=seeded())
    assert_same(net, value, by_hand(pacs, points, groups=4))


def test_an_input_that_counts_for_nothing_adds_nothing():
    critic, (a, b) = Critic().double(), samples()
    alone = GF.gradient_penalty(lambda x: critic([x, b]), a, None, at="real")
    ignored = GF.gradient_penalty(lambda xs: critic([xs[0], b]), [a, b], None, at="real")
    assert torch.equal(alone, ignored)
    with pytest.raises(ValueError, match="critic: the scores do not depend on the inputs"):
        GF.gradient_penalty(lambda xs: critic([a, b]).detach(), [a, b], None, at="real")


def test_the_users_tensors_stay_as_they_were():
    generator = nn.Linear(4, 4).double()
    real = [x.requires_grad_() for x in samples()]
    fake = [samples()[0], generator(samples()[1])]
    GF.gradient_penalty(Critic().double(), real, fake, at="both").backward()
    assert all(p.grad is None for p in generator.parameters())
    assert all(x.grad is None and x.requires_grad for x in real)


def test_dicts_meet_by_name_and_kwargs_pass():
    critic = Critic().double()
    real, fake = (dict(zip(("a", "b"), samples(), strict=True)) for _ in range(2))
    turned = {"b": fake["b"], "a": fake["a"]}
    values = [
        ganfast.GradientPenalty(generator=seeded())(critic, real, other, scale=2.0)
        for other in (fake, turned)
    ]
    assert torch.equal(*values)


def test_r1_on_a_graph_of_several_inputs():
    critic = Critic().double()
    real = {name: x.requires_grad_() for name, x in zip("ab", samples(), strict=True)}
    value = GF.r1_penalty(critic(real), real, gamma=4.0)
    assert_same(critic, value, by_hand(critic, real.values(), weight=2.0, target=0.0))
    real["b"] = real["b"].detach()
    with pytest.raises(ValueError, match=r"real_inputs\['b'\].requires_grad_\(\) before the crit"):
        GF.r1_penalty(critic(real), real)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("form", ["list", "dict"])
def test_inside_torch_compile(form):
    torch.compiler.reset()
    critic, make = Critic(), FORMS[form]
    critic.forward = lambda inputs: (
        critic.one(pair_of(inputs)[0].flatten(1)).tanh() * critic.two(pair_of(inputs)[1]).sigmoid()
    ).sum(1)
    real, fake = make(*samples(dtype=torch.float32)), make(*samples(dtype=torch.float32))

    def step(real, fake):
        return GF.gradient_penalty(critic, real, fake, at="both")

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert_same(critic, compiled(real, fake), step(real, fake))


def test_under_torch_func():
    critic = Critic().double()
    real, weights = samples(), {k: v.detach() for k, v in critic.named_parameters()}

    def penalty(weights):
        def critic_of(inputs):
            return torch.func.functional_call(critic, weights, (inputs,))

        return GF.gradient_penalty(critic_of, real, None, at="real")

    got = torch.func.grad(penalty)(weights)
    expected = weight_gradients(critic, by_hand(critic, real))
    for g, e in zip(got.values(), expected, strict=True):
        torch.testing.assert_close(g, torch.zeros_like(g) if e is None else e)


A, B = torch.zeros(4, 3), torch.zeros(4, 2)
BAD = [
    ([A, B], [A], r"real, fake: got a list of 2 and a list of 1; give both sides the same inputs"),
    ([A, B], A, "real, fake: got a list of 2 and a tensor"),
    ({"a": A}, {"b": A}, "real, fake: got a dict of 'a' and a dict of 'b'"),
    ([A, B[:3]], [A, B], r"real\[1\]: got 3 samples where real\[0\] has 4 samples"),
    ([A, B], [A, B[:3]], r"fake\[1\]: got 3 samples where fake\[0\] has 4 samples"),
    ([A, B.double()], [A, B], r"real\[1\]: got torch.float64 where real\[0\] has torch.float32"),
    ([A, B.to("meta")], [A, B], r"real\[1\]: got a tensor on meta where real\[0\] has a tensor on"),
    ({"a": A, "b": B.long()}, [A, B], r"real\['b'\]: got torch.int64; give float32"),
    ([A, B], [A, A], r"real\[1\], fake\[1\]: got shapes \(4, 2\) and \(4, 3\)"),
    ([A, [B]], [A, [B]], r"real\[1\]: got a list; give a tensor of samples"),
    ([], [], "real: got an empty list; give at least one tensor"),
    ([A[:0]], [A[:0]], "real: has no samples"),
]


@pytest.mark.parametrize(("real", "fake", "message"), BAD, ids=range(len(BAD)))
def test_bad_input(real, fake, message):
    with pytest.raises((ValueError, TypeError), match=message):
        GF.gradient_penalty(lambda xs: xs[0].sum(1), real, fake)


def test_an_error_draws_nothing():
    source = seeded()
    with pytest.raises(ValueError, match="got shapes"):
        GF.interpolate([A, B], [A, A], generator=source)
    assert torch.equal(source.get_state(), seeded().get_state())
