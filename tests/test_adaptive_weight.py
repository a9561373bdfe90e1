"""The adaptive weight against the recipe that people copy: two gradients through a retained graph.

The network is a small VQGAN: a decoder with norms, a perceptual loss by a frozen network, two
PatchGAN heads.
"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ganfast.functional as GF
from ganfast.errors import DivergedError


def conv(a, b, stride=1):
    return nn.Conv2d(a, b, 3, stride, 1)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            conv(4, 16), nn.SiLU(), nn.Upsample(scale_factor=2),
            conv(16, 16), nn.GroupNorm(4, 16), nn.SiLU(),
        )  # fmt: skip
        self.last = conv(16, 3)

    def forward(self, z):
        return self.last(self.body(z))


def patch_critic(width):
    return nn.Sequential(
        conv(3, width, 2), nn.LeakyReLU(0.2), conv(width, width, 2), nn.BatchNorm2d(width),
        nn.LeakyReLU(0.2), conv(width, 1),
    )  # fmt: skip


class Setting:
    """Everything of one generator step, made anew from one seed."""

    def __init__(self, dtype=torch.float64):
        torch.manual_seed(0)
        self.decoder = Decoder().to(dtype)
        self.heads = nn.ModuleList([patch_critic(8), patch_critic(12)]).to(dtype)
        self.heads.requires_grad_(False)
        self.features = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8, 2)).to(dtype)
        self.features.requires_grad_(False)
        self.z = torch.randn(4, 4, 8, 8, dtype=dtype)
        self.images = torch.rand(4, 3, 16, 16, dtype=dtype) * 2 - 1

    def losses(self, output):
        perceptual = F.mse_loss(self.features(output), self.features(self.images))
        rec = F.l1_loss(output, self.images) + perceptual
        return rec, GF.generator_loss([head(output) for head in self.heads], game="hinge")

    def gradients(self):
        return [p.grad for p in self.decoder.parameters()]

    def copied(self, at_output=False, weight=0.8):
        output = self.decoder(self.z)
        rec, adv = self.losses(output)
        by = output if at_output else self.decoder.last.weight
        a = torch.autograd.grad(rec, by, retain_graph=True)[0]
        b = torch.autograd.grad(adv, by, retain_graph=True)[0]
        w = (a.norm() / (b.norm() + 1e-4)).clamp(0.0, 1e4).detach()
        loss = rec + weight * w * adv
        loss.backward()
        return loss.detach(), w

    def ours(self, weight=0.8, decoder=None, **options):
        output = (self.decoder if decoder is None else decoder)(self.z)
        rec, adv = self.losses(output)
        loss, w = GF.adaptive_weight(rec, adv, output, weight=weight, **options)
        loss.backward()
        return loss.detach(), w


@pytest.mark.parametrize("form", ["last layer", "recomputed", "output"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_as_the_copied_recipe(dtype, form):
    theirs, mine = Setting(dtype), Setting(dtype)
    exact = theirs.copied(form == "output")
    options = {"last_layer": mine.decoder.last.weight} if form != "output" else {}
    if form == "recomputed":
        with torch.no_grad():
            features = mine.decoder.body(mine.z)
        options["recompute"] = (mine.decoder.last, features)
    got = mine.ours(**options)
    torch.testing.assert_close(got, exact)
    roundings = 1e-5 if dtype == torch.float32 else 1e-13
    for g, right in zip(mine.gradients(), theirs.gradients(), strict=True):
        assert (g - right).norm() <= roundings * right.norm()
    assert got[1] > 0 and not got[1].requires_grad


def test_a_linear_network_by_hand():
    """output = w * x: the gradients at w are x times those at the output."""
    w = torch.tensor([2.0], requires_grad=True)
    output = w * torch.tensor([1.0, -1.0])
    rec, adv = (3.0 * output[0], 0.5 * output.sum() + output[1])
    loss, weight = GF.adaptive_weight(rec, adv, output, last_layer=w, eps=0.0)
    torch.testing.assert_close(weight, torch.tensor(3.0))  # |3| / |0.5 - 0.5 - 1|
    assert loss.item() == 6.0 + 3.0 * -2.0
    loss.backward()
    assert w.grad.item() == 3.0 + 3.0 * -1.0
    output = w * torch.tensor([1.0, -1.0])
    weight = GF.adaptive_weight(3.0 * output[0], output.sum() / 2, output, eps=0.0).weight
    torch.testing.assert_close(weight, torch.tensor(3.0 * 2.0**0.5))


def test_the_limit_and_what_the_loss_counts():
    w = torch.ones(1, requires_grad=True)
    output = w * 1.0
    loss, weight = GF.adaptive_weight(output.sum() * 2, output.sum() * 1e-9, output, last_layer=w)
    assert weight == 1e4
    output = w * 1.0
    loss, weight = GF.adaptive_weight(
        output.sum(), output.sum() * 0.5, output, last_layer=w, eps=0, limit=1.5,
        weight=torch.tensor(0.1),
    )  # fmt: skip
    loss.backward()
    torch.testing.assert_close(w.grad, torch.tensor([1 + 0.1 * 1.5 * 0.5]))


class Counted(torch.autograd.Function):
    backwards = 0

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        Counted.backwards += 1
        return grad


@pytest.mark.parametrize("where", ["decoder", "critic"])
def test_each_network_is_run_backward_once(where):
    s = Setting()
    body, heads = s.decoder.body, s.heads
    if where == "decoder":
        s.decoder.forward = lambda z: s.decoder.last(Counted.apply(body(z)))
    else:
        s.heads = [lambda x, head=heads[0]: head(Counted.apply(x))]
    Counted.backwards = 0
    s.ours(last_layer=s.decoder.last.weight)
    assert Counted.backwards == 1


def test_losses_may_share_a_graph():
    """Adversarial loss and feature matching of one critic; retained only as long as needed."""
    w = torch.randn(5, dtype=torch.float64, requires_grad=True)

    def losses(output):
        features = (output * 2).tanh()
        return features.square().mean(), features.exp().sum()

    output = w * 3
    loss, weight = GF.adaptive_weight(*losses(output), output)
    loss.backward()
    x = w.detach().clone().requires_grad_()
    rec, adv = losses(x * 3)
    (rec + weight * adv).backward()
    torch.testing.assert_close(w.grad, x.grad)
    with pytest.raises(RuntimeError, match="second time"):
        output = w * 3
        rec, adv = losses(output)
        GF.adaptive_weight(rec, adv, output)
        adv.backward()


def test_accumulation_other_losses_and_a_second_backward():
    """The result is an ordinary scalar."""
    s, t = Setting(), Setting()
    output = s.decoder(s.z)
    loss, w = GF.adaptive_weight(*s.losses(output), output, last_layer=s.decoder.last.weight)
    codebook = s.decoder.last.bias.square().sum()
    (loss / 4 + codebook).backward(retain_graph=True)
    (loss / 4).backward()
    output = t.decoder(t.z)
    rec, adv = t.losses(output)
    ((rec + w * adv) / 2 + t.decoder.last.bias.square().sum()).backward()
    torch.testing.assert_close(s.gradients(), t.gradients())


def test_parameters_of_the_losses_themselves():
    """LDM's logvar: without being named it would silently stay where it is."""
    logvar = torch.zeros((), dtype=torch.float64, requires_grad=True)
    s = Setting()
    output = s.decoder(s.z)
    rec, adv = s.losses(output)
    rec = rec / logvar.exp() + logvar
    (expected,) = torch.autograd.grad(rec, logvar, retain_graph=True)
    GF.adaptive_weight(rec, adv, output, parameters=[logvar]).loss.backward()
    torch.testing.assert_close(logvar.grad, expected)


def test_it_cannot_be_differentiated_twice():
    x = torch.ones(2, requires_grad=True)
    output = x.square()
    loss = GF.adaptive_weight(output.sum(), output.mean(), output).loss
    (g,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        g.sum().backward()


# ---- half precision -------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2.0**16, torch.tensor(2.0**16)])
def test_gradients_of_half_precision_do_not_vanish(scale):
    """A mean over 2^20 pixels has gradients below float16's least number."""
    w = torch.ones((), requires_grad=True)
    output = (w * torch.ones(2**20)).half()
    rec, adv = output.float().mean() * 0.01, output.float().mean() * 0.02
    loss, weight = GF.adaptive_weight(rec, adv, output, scale=scale, eps=0)
    torch.testing.assert_close(weight, torch.tensor(0.5), rtol=2e-2, atol=0)
    (loss * 65536).backward()
    torch.testing.assert_close(w.grad, torch.tensor(0.02 * 65536), rtol=2e-2, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_of_half_precision_do_not_overflow(dtype):
    layer = nn.Linear(64, 64, dtype=dtype)
    output = layer(torch.ones(64, 64, dtype=dtype))
    rec, adv = output.sum() * 300, output.sum() * 600
    _, weight = GF.adaptive_weight(rec, adv, output, last_layer=layer.weight)
    torch.testing.assert_close(weight, torch.tensor(0.5))


def test_under_autocast_and_a_grad_scaler():
    """No further from the truth than twice what the recipe is."""
    s, theirs, exact = Setting(torch.float32), Setting(torch.float32), Setting(torch.float32)
    exact.copied()
    with torch.autocast("cpu", torch.bfloat16):
        theirs.copied()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(s.decoder.parameters(), lr=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        output = s.decoder(s.z)
        loss, weight = GF.adaptive_weight(
            *s.losses(output), output, last_layer=s.decoder.last.weight, weight=0.8,
            scale=scaler.scale(torch.ones(())),
        )  # fmt: skip
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    assert weight.dtype == loss.dtype == torch.float32
    for g, other, right in zip(*(x.gradients() for x in (s, theirs, exact)), strict=True):
        assert (g - right).norm() <= 2 * (other - right).norm()


# ---- torch.compile --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # Dynamo looks at it
def test_compiled_networks():
    """torch's "donated buffers" make a compiled graph one that runs backward once."""
    exact, s = Setting(torch.float32), Setting(torch.float32)
    right = exact.copied()
    decoder = torch.compile(s.decoder, fullgraph=True, backend="aot_eager")
    s.features = torch.compile(s.features, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        features = s.decoder.body(s.z)
    got = s.ours(
        decoder=decoder, last_layer=s.decoder.last.weight, recompute=(s.decoder.last, features)
    )
    torch.testing.assert_close(got, right)
    torch.testing.assert_close(s.gradients(), exact.gradients())
    at_output = s.ours(decoder=decoder)
    torch.testing.assert_close(at_output, exact.copied(at_output=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compiled with non-empty donated buffers\nwhich", "^last_layer: .*Give recompute="),
        ("Checkpointing is not compatible with .grad()", "^last_layer: .*use_reentrant=False"),
        ("something else", "^something else$"),
    ],
)
def test_what_torch_refuses_is_explained(monkeypatch, text, message):
    """Which graphs have donated buffers changes from version to version."""

    def refuse(*_, **__):
        raise RuntimeError(text)

    w = torch.ones(3, requires_grad=True)
    output = w * 2
    losses = output.sum(), output.square().sum()
    real = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda y, *x, **o: (refuse if y is output else real)(y, *x, **o)
    )
    with pytest.raises(RuntimeError, match=message):
        GF.adaptive_weight(*losses, output, last_layer=w)


# ---- bad input ------------------------------------------------------------------------


def bad(name):
    w = torch.ones(3, requires_grad=True)
    x = w * 2
    rec, adv = x.sum(), x.square().sum()
    good = {"reconstruction": rec, "adversarial": adv, "output": x, "last_layer": w}
    return {
        "detached": {**good, "adversarial": x.detach().sum()},
        "another": {**good, "reconstruction": w.sum()},
        "vector": {**good, "adversarial": x},
        "number": {**good, "reconstruction": 1.0},
        "no graph": {**good, "output": x.detach()},
        "module": {**good, "last_layer": nn.Linear(1, 1)},
        "frozen": {**good, "last_layer": torch.ones(3)},
        "beside": {**good, "last_layer": torch.ones(3, requires_grad=True)},
        "shape": {**good, "recompute": (lambda h: h[:2] * w[:2], torch.ones(3))},
        "alone": {**good, "last_layer": None, "recompute": (lambda h: h, x)},
        "scale": {**good, "scale": 0.0},
        "scales": {**good, "scale": torch.ones(2)},
        "weight": {**good, "weight": "much"},
        "weights": {**good, "weight": torch.ones(3)},
        "flag": {**good, "all_reduce": 1},
        "parameters": {**good, "parameters": [torch.ones(1)]},
    }[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("detached", "^adversarial: does not reach the output"),
        ("another", "^reconstruction: does not reach the output"),
        ("vector", r"^adversarial: has the shape \(3,\); give its mean"),
        ("number", "^reconstruction: got a float; give a 0-d tensor"),
        ("no graph", "^output: has no graph"),
        ("module", "^last_layer: got a Linear; give the layer's weight"),
        ("frozen", "^last_layer: needs no gradient"),
        ("beside", "^last_layer: the output does not depend on it"),
        ("shape", r"^recompute: gives the shape \(2,\) where output has \(3,\)"),
        ("alone", "^recompute: got one without last_layer"),
        ("scale", "^scale: got 0.0; give a finite number above 0"),
        ("scales", r"^scale: has the shape \(2,\)"),
        ("weight", "^weight: got 'much'; give a finite number"),
        ("weights", r"^weight: has the shape \(3,\); give one number"),
        ("flag", "^all_reduce: got 1; give True or False"),
        ("parameters", r"^parameters\[0\]: needs no gradient"),
    ],
)
def test_bad_input(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        GF.adaptive_weight(**bad(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ((1.0, 0.0), "^adversarial: the norm of its gradient is 0"),
        ((float("nan"), 1.0), "^reconstruction: the norm of its gradient is nan"),
        ((1.0, float("inf")), "^adversarial: the norm of its gradient is inf"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_norm_that_nothing_can_be_balanced_with(factors, message, last):
    w = torch.ones(3, requires_grad=True)
    output = w * 2
    losses = [output.sum() * factor for factor in factors]
    with pytest.raises(DivergedError, match=message):
        GF.adaptive_weight(*losses, output, last_layer=w if last else None, check_norms=True)


def test_a_zero_norm_is_the_recipes():
    w = torch.ones(3, requires_grad=True)
    output = w * 2
    loss, weight = GF.adaptive_weight(output.sum(), output.sum() * 0.0, output, last_layer=w)
    loss.backward()
    assert weight == 1e4 and torch.equal(w.grad, torch.full((3,), 2.0))


def test_reentrant_checkpoints_are_named():
    from torch.utils.checkpoint import checkpoint

    w = torch.ones(3, requires_grad=True)
    output = w * 2
    rec = checkpoint(torch.sum, output, use_reentrant=True)
    with pytest.raises(RuntimeError, match=r"^losses: .*use_reentrant=False"):
        GF.adaptive_weight(rec, output.sum(), output)
    output = w * 2
    rec = checkpoint(torch.sum, output, use_reentrant=False)
    assert copy.copy(GF.adaptive_weight(rec, output.sum(), output, eps=0).weight) == 1.0
