"""gradient_penalty and r1_penalty on critics of every kind, and the critics that they refuse."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import ganfast
import ganfast.functional as GF
from ganfast.functional import critics


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mlp(width=3, out=1):
    return nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, out))


def conv():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 4, 3, 2, 1), nn.SiLU(),
        nn.Flatten(), nn.Linear(16, 1),
    )  # fmt: skip


def by_hand(critic, points, weight=10.0, target=1.0, one_sided=False, groups=None):
    """The penalty as papers' code has it, in plain torch."""
    points = points.detach().requires_grad_()
    (g,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    excess = g.reshape(groups or len(g), -1).norm(2, dim=1) - target
    return weight * (excess.clamp(min=0) if one_sided else excess).square().mean()


def weight_gradients(critic, value):
    return torch.autograd.grad(value, list(critic.parameters()), allow_unused=True)


@pytest.mark.parametrize("options", [{}, {"one_sided": True}, {"target": 0.0, "weight": 5.0}])
@pytest.mark.parametrize("at", ["interpolated", "real", "fake", "both"])
def test_value_and_weight_gradients(at, options):
    critic = mlp().double()
    real, fake = torch.randn(6, 3).double(), torch.randn(6, 3).double()
    between = GF.interpolate(real, fake, generator=seeded())
    points = {"interpolated": [between], "real": [real], "fake": [fake], "both": [real, fake]}[at]
    value = GF.gradient_penalty(critic, real, fake, at=at, generator=seeded(), **options)
    expected = sum(by_hand(critic, x, **options) for x in points)
    torch.testing.assert_close(value, expected)
    for got, truth in zip(
        weight_gradients(critic, value), weight_gradients(critic, expected), strict=True
    ):
        assert (got is None) == (truth is None)
        if got is not None:
            torch.testing.assert_close(got, truth)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_whole_chain_is_as_exact_as_torchs_own(layout, dtype):
    """Weight gradients within twice the error that eager torch makes in the same dtype."""
    critic = conv()
    real, fake = torch.randn(16, 3, 8, 8), torch.randn(16, 3, 8, 8)

    def chain(dtype, ours):
        module = conv().to(dtype)
        module.load_state_dict(critic.state_dict())
        module = module.to(dtype=dtype, memory_format=layout)
        x, y = (t.to(dtype=dtype, memory_format=layout) for t in (real, fake))
        if ours:
            value = GF.gradient_penalty(module, x, y, generator=seeded())
        else:
            value = by_hand(module, GF.interpolate(x, y, generator=seeded()))
        return [g for g in weight_gradients(module, value) if g is not None]

    truths, ours, torchs = chain(torch.float64, False), chain(dtype, True), chain(dtype, False)
    for truth, got, torch_got in zip(truths, ours, torchs, strict=True):
        error = (got.double() - truth).norm()
        allowed = 2 * (torch_got.double() - truth).norm()
        # One rounding of each number that it is made of: an error of torch's may be 0 by luck.
        assert error <= allowed + 4 * torch.finfo(dtype).eps * truth.norm()


def test_second_order_by_finite_differences():
    critic = mlp().double()
    real, fake = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    weight = critic[0].weight

    def penalty():
        return GF.gradient_penalty(critic, real, fake, generator=seeded(1))

    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction, h = torch.randn_like(weight), 1e-6
    with torch.no_grad():
        weight.add_(h * direction)
        ahead = penalty()
        weight.sub_(2 * h * direction)
        behind = penalty()
    slope = (ahead - behind) / (2 * h)
    assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_a_linear_critic_has_a_known_penalty_and_gradient():
    critic = nn.Linear(2, 1, bias=False).double()
    nn.init.constant_(critic.weight, 3.0)  # ||grad|| = 3 sqrt 2 everywhere
    real, fake = torch.randn(6, 2).double(), torch.randn(6, 2).double()
    penalty = GF.gradient_penalty(critic, real, fake, weight=1.0)
    norm = 3 * 2**0.5
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-12)
    penalty.backward()
    expected = 2 * (norm - 1) * critic.weight.detach() / norm
    torch.testing.assert_close(critic.weight.grad, expected)


def test_the_points_lie_between_with_one_eps_per_sample():
    seen = []

    def spy(x):
        seen.append(x.detach())
        return x.flatten(1).square().sum(1)

    GF.gradient_penalty(spy, torch.ones(64, 1, 4, 4), torch.zeros(64, 1, 4, 4))
    eps = seen[0].flatten(1)
    assert torch.equal(eps, eps[:, :1].expand_as(eps))  # not one per pixel
    assert eps[:, 0].unique().numel() == 64  # not one per batch
    assert float(eps.min()) >= 0 and float(eps.max()) < 1
    assert 0.3 < float(eps.mean()) < 0.7


@pytest.mark.parametrize("at", ["interpolated", "fake", "both"])
def test_fakes_are_never_differentiated(at):
    """torchgan and PyTorch-GAN back-propagate into the generator for nothing."""
    generator = nn.Linear(4, 3)
    fake = generator(torch.randn(6, 4))
    real = torch.randn(6, 3, requires_grad=True)
    GF.gradient_penalty(mlp(), real, fake, at=at).backward()
    assert all(p.grad is None for p in generator.parameters()) and real.grad is None
    assert real.requires_grad and fake.requires_grad, "the user's tensors stay as they were"


def test_only_one_side_is_needed():
    x = torch.randn(4, 3)
    critic = mlp()
    assert GF.gradient_penalty(critic, x, None, at="real") == GF.gradient_penalty(
        critic, None, x, at="fake"
    )
    assert GF.gradient_penalty(critic, x, torch.randn(7, 3), at="both").isfinite()


class Pacs(nn.Module):
    """Two samples make one score, as in PacGAN."""

    def __init__(self):
        super().__init__()
        self.net = mlp(6)

    def forward(self, x):
        return self.net(x.reshape(len(x) // 2, -1))


def test_groups_have_one_norm():
    critic, real, fake = Pacs().double(), torch.randn(8, 3).double(), torch.randn(8, 3).double()
    value = GF.gradient_penalty(critic, real, fake, group_size=2, generator=seeded())
    points = GF.interpolate(real, fake, group_size=2, generator=seeded())
    torch.testing.assert_close(value, by_hand(critic, points, groups=4))


@pytest.mark.parametrize("form", ["map", "tuple", "list", "dict", "nested", "vector", "scalar"])
def test_what_is_penalised_is_the_sum_of_all_scores(form):
    """Of a sample: patches of a PatchGAN, heads of a multi-scale critic."""
    one, two = mlp(3, 4).double(), mlp(3, 1).double()
    forms = {
        "map": lambda x: one(x).view(-1, 1, 2, 2),
        "tuple": lambda x: (one(x), two(x)),
        "list": lambda x: [one(x), two(x)],
        "dict": lambda x: {"coarse": one(x), "fine": two(x)},
        "nested": lambda x: (one(x), [two(x)]),
        "vector": lambda x: one(x).sum(1),
        "scalar": lambda x: one(x).sum(),
    }
    both = form in ("tuple", "list", "dict", "nested")
    x = torch.randn(5, 3).double()
    got = GF.gradient_penalty(forms[form], x, x, at="real")
    expected = by_hand(lambda x: one(x).sum(1) + both * two(x).sum(1), x)
    torch.testing.assert_close(got, expected)


def test_a_head_that_does_not_see_the_input_counts_for_nothing():
    critic, bias = mlp(), nn.Parameter(torch.zeros(5))
    x = torch.randn(5, 3)
    with_bias = GF.gradient_penalty(lambda x: (critic(x), bias, bias.detach()), x, x, at="real")
    assert with_bias == GF.gradient_penalty(critic, x, x, at="real")


def test_conditional_critics():
    class Conditional(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.table = mlp(), nn.Embedding(4, 3)

        def forward(self, x, labels, *, scale=1.0):
            return scale * self.net(x * self.table(labels))

    critic, x, labels = Conditional().double(), torch.randn(5, 3).double(), torch.arange(5) % 4
    kwargs = {"labels": labels, "scale": 2.0}
    expected = by_hand(lambda x: critic(x, **kwargs), x)
    got = GF.gradient_penalty(critic, x, x, at="real", critic_kwargs=kwargs)
    torch.testing.assert_close(got, expected)
    module = ganfast.GradientPenalty(at="real")
    torch.testing.assert_close(module(critic, x, x, labels=labels, scale=2.0), expected)


def test_without_gradients_it_is_a_number():
    critic, x, y = mlp(), torch.randn(4, 3), torch.randn(4, 3)
    with torch.no_grad():
        value = GF.gradient_penalty(critic, x, y, generator=seeded())
    assert not value.requires_grad
    assert value == GF.gradient_penalty(critic, x, y, generator=seeded()).detach()
    with torch.inference_mode(), pytest.raises(ValueError, match="no_grad, not inference_mode"):
        GF.gradient_penalty(critic, x, y)


def test_a_frozen_critic_has_a_value():
    critic = nn.Linear(3, 1).requires_grad_(False)
    assert GF.gradient_penalty(critic, torch.randn(4, 3), torch.randn(4, 3)).isfinite()


def test_module():
    module = ganfast.GradientPenalty(5.0, target=2.0, one_sided=True, generator=seeded())
    critic, x, y = mlp(), torch.randn(4, 3), torch.randn(4, 3)
    expected = GF.gradient_penalty(
        critic, x, y, weight=5.0, target=2.0, one_sided=True, generator=seeded()
    )
    assert module(critic, x, y) == expected
    assert "weight=5.0, target=2.0, one_sided=True, at='interpolated'" in repr(module)
    with pytest.raises(ValueError, match="at: got 'middle'"):
        ganfast.GradientPenalty(at="middle")
    with pytest.raises(ValueError, match="weight: got -1"):
        ganfast.GradientPenalty(-1.0)


# ---- r1_penalty ----------------------------------------------------------------------


def test_r1_reuses_the_graph():
    critic = mlp().double()
    real = torch.randn(6, 3).double().requires_grad_()
    scores = critic(real)
    value = GF.r1_penalty(scores, real, gamma=4.0)
    expected = by_hand(critic, real, weight=2.0, target=0.0)
    torch.testing.assert_close(value, expected)
    (scores.mean() + value).backward()
    fresh = critic(real.detach()).mean() + by_hand(critic, real, weight=2.0, target=0.0)
    for p, g in zip(critic.parameters(), weight_gradients(critic, fresh), strict=True):
        torch.testing.assert_close(p.grad, g)


def test_r1_refusals():
    critic, real = mlp(), torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"real_inputs.requires_grad_\(\) before the critic"):
        GF.r1_penalty(critic(real), real)
    with pytest.raises(ValueError, match="real_scores: the scores do not depend on the inputs"):
        GF.r1_penalty(critic(real), real.clone().requires_grad_())
    real.requires_grad_()
    with pytest.raises(ValueError, match="gamma: got -1"):
        GF.r1_penalty(critic(real), real, gamma=-1.0)


# ---- refusals, each with its cure ----------------------------------------------------


def refused(critic, kind, message, **options):
    x = torch.randn(4, 3)
    with pytest.raises(kind, match=message):
        GF.gradient_penalty(critic, x, x, **options)


def test_scores_that_do_not_depend_on_the_samples():
    critic, constant = mlp(), nn.Parameter(torch.ones(4, 1))
    for broken in (
        lambda x: critic(x.detach()),
        lambda x: constant * 1,
        lambda x: critic(x).detach(),
    ):
        refused(broken, ValueError, "do not depend on the inputs through autograd; score the inp")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_critics():
    critic = mlp()
    part = nn.Sequential(mlp(3, 3), torch.compile(mlp(), backend="aot_eager"))
    in_place = mlp()
    in_place.compile(backend="aot_eager")
    hidden = torch.compile(critic, backend="aot_eager")
    for compiled in (
        torch.compile(critic, backend="aot_eager"),
        torch.compile(lambda x: critic(x), backend="aot_eager"),
        part,
        in_place,
    ):
        refused(compiled, ValueError, "has no double backward.*compiled._orig_mod")
    refused(lambda x: hidden(x), RuntimeError, "a part of it is compiled")
    with torch.no_grad():  # one derivative is no problem
        x = torch.randn(4, 3)
        torch.testing.assert_close(
            GF.gradient_penalty(hidden, x, x, at="real"),
            GF.gradient_penalty(critic, x, x, at="real"),
        )


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 32)

    def forward(self, x):
        heads = self.embed(x).view(len(x), 2, 2, 8)
        return F.scaled_dot_product_attention(heads, heads, heads).sum((1, 2, 3))


def test_fused_attention_and_its_cure():
    from torch.nn.attention import SDPBackend, sdpa_kernel

    refused(Attention(), RuntimeError, "scaled_dot_product_attention.*SDPBackend.MATH")
    critic = Attention()

    def cured(x):
        with sdpa_kernel(SDPBackend.MATH):
            return critic(x)

    x = torch.randn(4, 3)
    GF.gradient_penalty(cured, x, x, at="real").backward()
    assert critic.embed.weight.grad.ne(0).any()


def test_other_operations_without_a_second_derivative():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return 2 * grad * ctx.saved_tensors[0]

    inner = nn.Linear(3, 3)

    class Critic(nn.Module):
        def __init__(self, last):
            super().__init__()
            self.inner, self.last = inner, last

        def forward(self, x):
            return self.last(Once.apply(self.inner(x)))

    refused(Critic(mlp()), RuntimeError, "no second derivative.*differentiable twice")
    # Nothing but a constant meets the operation: torch loses its second derivative silently.
    silent = Critic(lambda x: x.sum(1))
    silent.inner.requires_grad_(True)
    x = torch.randn(4, 3)
    with pytest.raises(RuntimeError, match="second order is lost or wrong"):
        GF.check_second_order(
            lambda: GF.gradient_penalty(silent, x, x, at="real"), silent.parameters()
        )


def test_an_operation_whose_second_derivative_raises():
    """Minibatch discrimination by torch.cdist: its node is there, and raises in backward()."""
    inner = nn.Linear(3, 5)

    def critic(x):
        h = inner(x)
        return h.sum(1) + torch.exp(-torch.cdist(h, h)).sum(1)

    for _ in range(2):  # what was seen once to be wrong is not taken for right
        refused(critic, RuntimeError, "^critic: .*_cdist_backward.*finite_difference_penalty")
    x = torch.randn(4, 3)
    with torch.no_grad():
        assert GF.gradient_penalty(critic, x, x, at="real") > 0
    finite = GF.finite_difference_penalty(critic, x, sigma=1e-2)
    finite.backward()
    assert inner.weight.grad.ne(0).any()


def test_a_second_derivative_is_tried_once_for_each_kind_of_graph(monkeypatch):
    from ganfast.functional import critics

    tried = []
    original = critics._take_second
    monkeypatch.setattr(critics, "_proven", set())
    monkeypatch.setattr(critics, "_take_second", lambda *a: tried.append(1) or original(*a))
    x, net = torch.randn(4, 3), mlp()
    for _ in range(3):
        GF.gradient_penalty(lambda x: net(x), x, x, at="real").backward()
    assert tried == [1]


def test_nothing_to_train():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(w)
            return x * w

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return grad * ctx.saved_tensors[0], None

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return Once.apply(x, self.w).sum(1)

    refused(Critic(), RuntimeError, "the penalty would train nothing.*once_differentiable")


def test_reentrant_checkpoint_and_its_cure():
    critic = mlp()
    refused(
        lambda x: checkpoint(critic, x, use_reentrant=True),
        RuntimeError,
        "use_reentrant=True.*use_reentrant=False",
    )
    x = torch.randn(4, 3)
    value = GF.gradient_penalty(
        lambda x: checkpoint(critic, x, use_reentrant=False), x, x, at="real"
    )
    value.backward()
    expected = weight_gradients(critic, by_hand(critic, x))
    torch.testing.assert_close(critic[0].weight.grad, expected[0])


def test_batch_norm_warns():
    critic = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1))
    x = torch.randn(6, 3)
    with pytest.warns(UserWarning, match="critic: '1' is a BatchNorm in training mode") as caught:
        GF.gradient_penalty(critic, x, x)
    assert caught[0].filename == __file__
    GF.gradient_penalty(critic.eval(), x, x)
    instance = nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2), nn.Flatten())
    GF.gradient_penalty(instance, torch.randn(2, 1, 6, 6), torch.randn(2, 1, 6, 6))


@pytest.mark.parametrize(
    ("critic", "kind", "message"),
    [
        (lambda x: None, TypeError, "critic: it returned a NoneType"),
        (lambda x: x.sum().item(), TypeError, "critic: it returned a float"),
        (lambda x: x.argmax(1), ValueError, r"critic: it returned torch.int64"),
        (lambda x: [], ValueError, "critic: it returned no tensor"),
        (torch.zeros(3), TypeError, "critic: got a Tensor"),
    ],
)
def test_what_is_no_critic(critic, kind, message):
    refused(critic, kind, message)


@pytest.mark.parametrize(
    ("real", "fake", "options", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2, 2), {}, "real, fake: got shapes"),
        (torch.zeros(0, 2), torch.zeros(0, 2), {}, "real: has no samples"),
        (torch.zeros(3, 2).int(), torch.zeros(3, 2), {}, "real: got torch.int32"),
        (torch.zeros(3, 2), torch.zeros(3, 2), {"at": "dragan"}, "at: got 'dragan'; give one of"),
        (torch.zeros(3, 2), torch.zeros(3, 2), {"target": -1.0}, "target: got -1"),
        (torch.zeros(3, 2), torch.zeros(3, 2), {"group_size": 2}, "group_size: got 2 for 3"),
    ],
)
def test_bad_input(real, fake, options, message):
    with pytest.raises(ValueError, match=message):
        GF.gradient_penalty(mlp(2), real, fake, **options)


def test_an_error_of_the_critics_own_passes_through():
    def broken(x):
        raise RuntimeError("shape mismatch in layer 3")

    refused(broken, RuntimeError, "shape mismatch in layer 3")


# ---- critics that return more than scores ----------------------------------------------


class Outputs(NamedTuple):
    logits: torch.Tensor
    features: torch.Tensor
    label: torch.Tensor | None


class ManyOutputs(nn.Module):
    """As StudioGAN's discriminators return them: a dict with scores, features, labels and None."""

    def __init__(self, form=dict):
        super().__init__()
        self.body, self.last, self.form = nn.Linear(3, 8), nn.Linear(8, 1), form

    def forward(self, x, label=None):
        h = self.body(x).tanh()
        scores = self.last(h).squeeze(1)
        if self.form is dict:
            label = torch.zeros(len(x), dtype=torch.int64) if label is None else label
            return {"h": h, "adv_output": scores, "embed": None, "label": label}
        return self.form(scores, h, None) if self.form is Outputs else (scores, h, None)


@pytest.mark.parametrize(
    ("form", "scores"),
    [(dict, "adv_output"), (dict, ["adv_output"]), (tuple, 0), (tuple, -3), (Outputs, "logits")],
)
def test_scores_are_named(form, scores):
    critic = ManyOutputs(form).double()
    x = torch.randn(5, 3).double()
    expected = by_hand(lambda x: critic.last(critic.body(x).tanh()), x)
    assert_weights = weight_gradients(critic, expected)
    module = ganfast.GradientPenalty(at="real", scores=scores)
    assert f"scores={scores!r}" in repr(module)
    for value in (
        GF.gradient_penalty(critic, x, x, at="real", scores=scores),
        module(critic, x, None),
    ):
        torch.testing.assert_close(value, expected)
        for got, truth in zip(weight_gradients(critic, value), assert_weights, strict=True):
            torch.testing.assert_close(got, truth) if truth is not None else None
    leaf = x.clone().requires_grad_()
    value = GF.r1_penalty(critic(leaf), leaf, gamma=2.0, scores=scores)
    torch.testing.assert_close(
        value, by_hand(lambda x: critic.last(critic.body(x).tanh()), x, 1.0, 0.0)
    )
    alone = GF.finite_difference_penalty(
        lambda x: critic.last(critic.body(x).tanh()), x, sigma=0.1, generator=seeded()
    )
    named = GF.finite_difference_penalty(critic, x, sigma=0.1, generator=seeded(), scores=scores)
    torch.testing.assert_close(named, alone)


def test_several_scores_are_named():
    critic, x = ManyOutputs(tuple).double(), torch.randn(5, 3).double()
    value = GF.gradient_penalty(critic, x, x, at="real", scores=[0, 1])
    torch.testing.assert_close(value, by_hand(lambda x: critic(x)[0] + critic(x)[1].sum(1), x))


@pytest.mark.parametrize(
    ("critic", "scores", "message"),
    [
        (ManyOutputs(), None, r"NoneType as output \['embed'\]; .* scores='adv_output'"),
        (ManyOutputs(tuple), None, r"NoneType as output \[2\]; name the scores alone, scores=0"),
        (ManyOutputs(), "embed", r"it returned a NoneType as output \['embed'\]; give a tensor"),
        (ManyOutputs(), "label", r"it returned torch.int64 as output \['label'\]; scores are real"),
        (ManyOutputs(), "logits", "scores: got 'logits'; the critic returned a dict with outputs"),
        (ManyOutputs(), 0, "scores: got 0; .* 'h', 'adv_output', 'embed', 'label'"),
        (ManyOutputs(tuple), 3, "scores: got 3; the critic returned a tuple with outputs 0, 1, 2"),
        (ManyOutputs(tuple), "h", "scores: got 'h'; the critic returned a tuple"),
        (ManyOutputs(Outputs), "h", "scores: got 'h'; .*Outputs with outputs logits, features"),
        (mlp(), 0, "scores: got 0; the critic returned a Tensor, which has no outputs by name"),
        (mlp(), "grad", "scores: got 'grad'; the critic returned a Tensor"),
        (lambda x: (mlp()(x), x.argmax(1)), None, r"torch.int64 as output \[1\].* scores=0"),
    ],
)
def test_outputs_that_are_no_scores_are_named(critic, scores, message):
    refused(critic, (TypeError, ValueError), message, scores=scores)


def test_feature_maps_beside_scores_are_said():
    body, last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 3)

    def heads(x):
        features = body(x).tanh()
        return {"map": last(features), "features": features}

    x = torch.randn(2, 3, 6, 6)
    with pytest.warns(UserWarning, match=r"output \['features'\] has the.* scores='map'") as caught:
        GF.gradient_penalty(heads, x, x)
    assert caught[0].filename == __file__
    leaf = x.clone().requires_grad_()
    with pytest.warns(UserWarning, match=r"output \['features'\]") as caught:
        GF.r1_penalty(heads(leaf), leaf)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=r"output \[0\]\[1\].* give a function"):
        GF.gradient_penalty(lambda x: [list(heads(x).values())], x, x)
    # Nothing is said of maps of patches, of features that are named, or that carry no gradient.
    GF.gradient_penalty(lambda x: [heads(x)["map"], heads(x)["map"].flatten(1)], x, x)
    GF.gradient_penalty(heads, x, x, scores=["map", "features"])
    GF.gradient_penalty(lambda x: (heads(x)["map"], body(x).detach()), x, x)


def test_r1_finds_an_operation_without_a_second_derivative_at_the_call():
    inner = nn.Linear(3, 5)

    def scores(x):
        h = inner(x)
        return h.sum(1) + torch.exp(-torch.cdist(h, h)).sum(1)

    x = torch.randn(4, 3, requires_grad=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="^critic: .*_cdist_backward.*finite_difference_p"):
            GF.r1_penalty(scores(x), x)
    attention = Attention()
    with pytest.raises(RuntimeError, match="scaled_dot_product_attention.*SDPBackend.MATH"):
        GF.r1_penalty(attention(x), x)
    with torch.no_grad():
        with torch.enable_grad():
            found = scores(x)
        assert GF.r1_penalty(found, x) > 0


@pytest.mark.parametrize("several", [False, True])
def test_the_gradient_is_autograd_grads_with_torchs_inner_function_and_without(
    monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    layer = torch.nn.Linear(3, 1).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    scores = [layer(x).square(), layer(x).exp()][: 1 + several]
    expected = torch.autograd.grad(sum(s.sum() for s in scores), x)[0]
    scores = [layer(x).square(), layer(x).exp()][: 1 + several]
    assert critics._run_backward is not None  # of this torch
    (found,) = critics.gradients(scores, [x], True)
    assert found.requires_grad
    torch.testing.assert_close(found, expected)
    monkeypatch.setattr(critics, "_run_backward", None)
    (found,) = critics.gradients(scores, [x], True)
    assert found.requires_grad
    torch.testing.assert_close(found, expected)
