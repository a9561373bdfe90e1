"""ganfast.optim against torch.optim: the same updates, the same state, the same manners."""

from __future__ import annotations

import copy
import itertools
import pickle
from types import SimpleNamespace

import pytest
import torch
import truth
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from truth import DTYPES, threads

import ganfast
from ganfast.optim import Adam, RMSprop
from ganfast.optim.step import StepAndClip, _untraced

ON_CPU = pytest.mark.skipif("cpu" not in truth.backends(), reason="the C++ kernels were not built")
BACKENDS = [
    name
    for name, ok, _ in ganfast.explain("rmsprop", torch.zeros(1))
    if ok and name in ("cpu", "reference")
]
KINDS = {RMSprop: torch.optim.RMSprop, Adam: torch.optim.Adam}


def options(**choices):
    names = list(choices)
    return [dict(zip(names, each, strict=True)) for each in itertools.product(*choices.values())]


CASES = [
    *(
        (RMSprop, chosen)
        for chosen in options(
            momentum=(0, 0.9), centered=(False, True), weight_decay=(0, 0.1), maximize=(False, True)
        )
    ),
    *(
        (Adam, chosen)
        for chosen in options(
            amsgrad=(False, True),
            weight_decay=(0, 0.1),
            maximize=(False, True),
            betas=((0.5, 0.99), (0.0, 0.9)),
        )
    ),
    (Adam, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    (RMSprop, {"alpha": 0.3, "lr": torch.tensor(0.02, dtype=torch.float64)}),
    (Adam, {"lr": torch.tensor(0.02, dtype=torch.float64)}),
]
BOTH = [(RMSprop, {}), (Adam, {})]


def name_of(value):
    return value.__name__ if isinstance(value, type) else None


def parameters(dtype=torch.float32):
    """Empty, scalar, smaller and larger than a vector and a block, channels_last, transposed."""
    random = torch.Generator().manual_seed(1)
    made = [torch.randn(n, generator=random) for n in ((0,), (), (3, 5), (1025,), (40, 61))]
    image = torch.randn(16, 8, 3, 3, generator=random)
    made += [image.contiguous(memory_format=torch.channels_last), made[4].t().clone()]
    made += [torch.randn(17, 9, generator=random).t()]
    return [nn.Parameter(x.to(dtype)) for x in made]


def gradients(params, seed):
    random = torch.Generator().manual_seed(seed)
    return [torch.empty_like(p).copy_(torch.randn(p.shape, generator=random)) for p in params]


def give(params, grads):
    for p, g in zip(params, grads, strict=True):
        p.grad = torch.empty_like(p).copy_(g)


def rms(differences):
    return torch.cat([d.double().flatten() for d in differences]).square().mean().sqrt().item()


def errors(optimizer, exact):
    """The root mean square error of the weights and of each array of the state."""
    pairs = {}
    for p, q in zip(*(o.param_groups[0]["params"] for o in (optimizer, exact)), strict=True):
        there = {"weight": q.detach(), **exact.state[q]}
        for key, x in {"weight": p.detach(), **optimizer.state[p]}.items():
            pairs.setdefault(key, []).append(x.double() - there[key])
    return {key: rms(differences) for key, differences in pairs.items()}


def run(kind, params, grads, **chosen):
    optimizer = kind(params, **chosen)
    for each in grads:
        give(params, each)
        optimizer.step()
    return optimizer


@ON_CPU
@pytest.mark.parametrize("kind, chosen", CASES, ids=name_of)
def test_is_torchs_update_to_round_off(kind, chosen):
    """Six steps against torch's in float64; the error that torch makes in the same dtype is allowed
    twice. Root mean squares: the worst of many thousand roundings is a matter of luck."""
    chosen = {"lr": 0.01, "eps": 1e-4, **chosen}
    allowed = {}
    for dtype in DTYPES:
        grads = [gradients(parameters(dtype), seed) for seed in range(6)]
        with ganfast.backend("cpu"):
            ours = run(kind, parameters(dtype), grads, **chosen)
        theirs = run(KINDS[kind], parameters(dtype), grads, **chosen)
        exact = [nn.Parameter(p.detach().double()) for p in parameters(dtype)]
        exact = run(KINDS[kind], exact, grads, **chosen)
        if dtype is torch.float64:  # torch's answer is the truth itself: scale what float32 needs
            finer = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
            allowed = {key: 2 * finer * room for key, room in allowed.items()}
        else:
            allowed = {key: 2 * error for key, error in errors(theirs, exact).items()}
        got = errors(ours, exact)
        assert all(got[key] <= allowed[key] for key in got), (dtype, got, allowed)
        start = [p.detach() for p in parameters(dtype)]
        weights = [p.detach() for p in ours.param_groups[0]["params"]]
        moved = rms([p - q for p, q in zip(weights, start, strict=True)])
        assert moved > 0.01, "a test of steps that do not move says nothing"
        for p, q in zip(*(o.param_groups[0]["params"] for o in (ours, theirs)), strict=True):
            a, b = ours.state[p], theirs.state[q]
            assert a.keys() == b.keys() and a["step"] == 6
            for key in a:
                assert a[key].dtype == b[key].dtype and a[key].device == b[key].device
                assert a[key].shape == b[key].shape and a[key].stride() == b[key].stride()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind, chosen", CASES, ids=name_of)
def test_the_clip_comes_after_the_update(kind, chosen, backend):
    chosen = {"lr": 0.05, **chosen}
    grads = [gradients(parameters(), seed) for seed in range(3)]
    clipped, plain = parameters(), parameters()
    with ganfast.backend(backend):
        for each in grads:
            # One step of each from the same weights: they differ by the clip alone.
            mine = kind(clipped, weight_clip=0.1, **copy.deepcopy(chosen))
            give(clipped, each)
            mine.step()
            give(plain, each)
            kind(plain, **copy.deepcopy(chosen)).step()
            for p, q in zip(clipped, plain, strict=True):
                expected = q.detach().clamp(-0.1, 0.1)
                assert torch.equal(p.detach(), expected)
                q.data.copy_(expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_stays_and_infinity_is_clipped(kind, chosen, backend, dtype):
    p = nn.Parameter(torch.tensor([torch.nan, torch.inf, -torch.inf, 1.0, 0.0]).to(dtype))
    p.grad = torch.tensor([1.0, 1.0, 1.0, torch.nan, 0.0]).to(dtype)
    with ganfast.backend(backend):
        kind([p], weight_clip=0.01, eps=1e-3, **chosen).step()
    bound = torch.tensor(0.01, dtype=dtype)
    assert p[0].isnan() and p[3].isnan()
    assert p[1] == bound and p[2] == -bound and p[4] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_group_has_its_own_options_and_weights_without_a_gradient_are_clipped_too(backend):
    a, b, c, d = (nn.Parameter(torch.full((5,), float(i + 10))) for i in range(4))
    groups = [
        {"params": [a, b], "weight_clip": 0.5},
        {"params": [c], "weight_clip": None, "lr": 0.25},
        {"params": []},
    ]
    with ganfast.backend(backend):
        optimizer = RMSprop(groups, lr=0.1, weight_clip=2.0)
        optimizer.add_param_group({"params": d})
        for p in (a, c, d):
            p.grad = torch.ones(5)
        optimizer.step()
    assert (a == 0.5).all() and (b == 0.5).all() and (d == 2).all()
    torch.testing.assert_close(c.detach(), torch.full((5,), 12 - 0.25 * 10.0))
    assert b not in optimizer.state or not optimizer.state[b]


@pytest.mark.parametrize("kind, chosen", CASES, ids=name_of)
def test_state_dicts_go_both_ways(kind, chosen):
    """Three steps here, the state carried over, three there: the same as six in one place."""
    chosen = {"lr": 0.01, "eps": 1e-4, **chosen}
    grads = [gradients(parameters(), seed) for seed in range(6)]
    whole = parameters()
    run(KINDS[kind], whole, grads, **copy.deepcopy(chosen))
    for first, second in ((kind, KINDS[kind]), (KINDS[kind], kind), (kind, kind)):
        params = parameters()
        before = run(first, params, grads[:3], **copy.deepcopy(chosen))
        saved = pickle.loads(pickle.dumps(before.state_dict()))
        after = second(params, lr=9.0)
        after.load_state_dict(saved)
        assert float(after.param_groups[0]["lr"]) == pytest.approx(float(chosen["lr"]))
        for each in grads[3:]:
            give(params, each)
            after.step()
        for p, q in zip(params, whole, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=2e-6)
            assert after.state[p]["step"] == 6


def test_a_loaded_state_keeps_the_clip_that_it_does_not_know():
    params = parameters()
    mine = RMSprop(params, weight_clip=0.25)
    mine.load_state_dict(torch.optim.RMSprop(params, lr=0.3).state_dict())
    assert mine.param_groups[0]["weight_clip"] == 0.25 and mine.param_groups[0]["lr"] == 0.3
    mine.load_state_dict(RMSprop(params, weight_clip=0.5).state_dict())
    assert mine.param_groups[0]["weight_clip"] == 0.5
    for copied in (pickle.loads(pickle.dumps(mine)), copy.deepcopy(mine)):
        assert copied.param_groups[0]["weight_clip"] == 0.5
        assert copied.defaults["weight_clip"] == 0.25
        for p in copied.param_groups[0]["params"]:
            p.grad = torch.ones_like(p)
        copied.step()
        assert all(p.abs().max() <= 0.5 for p in copied.param_groups[0]["params"] if p.numel())


@pytest.mark.parametrize("compiler", [True, False])
def test_what_torch_keeps_from_its_compiler_works_with_and_without_it(monkeypatch, compiler):
    """Where nobody has imported it, nobody does. That training begins without it is tested in
    train/test_train_processes.py."""
    seen = SimpleNamespace(modules={"torch._dynamo": None} if compiler else {})
    monkeypatch.setattr("ganfast.optim.step.sys", seen)
    calls = []

    class Counts(torch.optim.Optimizer):
        def zero_grad(self, set_to_none=True):
            calls.append(set_to_none)
            super().zero_grad(set_to_none)

    class Counting(Adam, Counts):
        pass

    for made in (Adam, Counting):
        a, b = (nn.Parameter(torch.ones(3)) for _ in range(2))
        optimizer = made([a], lr=0.5)
        optimizer.add_param_group({"params": [b], "lr": 0.25})
        (a.sum() + b.sum()).backward()
        optimizer.step()
        saved = optimizer.state_dict()
        assert [group["lr"] for group in saved["param_groups"]] == [0.5, 0.25]
        optimizer.zero_grad(False)
        assert not a.grad.any() and not b.grad.any()
        optimizer.zero_grad()
        assert a.grad is b.grad is None
        other = made([nn.Parameter(a.detach().clone())])
        other.add_param_group({"params": [nn.Parameter(b.detach().clone())]})
        other.load_state_dict(saved)
        assert other.param_groups[1]["lr"] == 0.25 and len(other.state) == 2
    assert calls == [False, True]
    method = super(StepAndClip, optimizer).state_dict
    assert (_untraced(method) is not method) == (not compiler)


@pytest.mark.parametrize("kind, chosen", CASES, ids=name_of)
def test_what_the_kernel_does_not_take_torch_does_and_the_clip_follows(kind, chosen):
    """A gradient with holes, a complex weight, another layout; and the same with a GradScaler."""
    random = torch.randn(6, 4)
    whole = torch.randn(6, 8)
    for weight, grad in (
        (random, whole[:, ::2]),
        (random.to(torch.cfloat), random.to(torch.cfloat)),
        (torch.randn(4, 6).t(), random),
        (torch.randn(6, 4, 2)[..., 0], random),
        (random, random[:1].expand(6, 4)),
    ):
        a, b = nn.Parameter(weight.clone()), nn.Parameter(weight.clone())
        a.data, b.data = torch.empty_like(weight), torch.empty_like(weight)
        a.data.copy_(weight), b.data.copy_(weight)
        a.grad, b.grad = grad, grad.clone()
        kind([a], **copy.deepcopy(chosen)).step()
        KINDS[kind]([b], **copy.deepcopy(chosen)).step()
        torch.testing.assert_close(a, b)
    for a in (nn.Parameter(random.clone()), nn.Parameter(whole[:, ::2])):
        a.grad = whole[:, 1::2]
        kind([a], weight_clip=0.1, **copy.deepcopy(chosen)).step()
        assert a.abs().max() <= 0.1
    if "cpu" in BACKENDS:
        with (
            ganfast.backend("cpu"),
            pytest.raises(RuntimeError, match="'cpu' was forced .* not dense"),
        ):
            kind([a], **copy.deepcopy(chosen)).step()


def odd_ones(dtype=torch.float32):
    """Weights beside ordinary ones: other layouts, holes, a complex one first, a zero gradient."""
    random = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=random).to(dtype)

    def channels_last(x):
        return x.contiguous(memory_format=torch.channels_last)

    complex_ = torch.complex(draw(5).float(), draw(5).float())
    pairs = [
        (complex_, complex_ * 2),
        (draw(7, 300), draw(300, 7).t()),
        (draw(16, 9, 7, 5), channels_last(draw(16, 9, 7, 5))),
        (channels_last(draw(6, 5, 4, 3)), draw(6, 5, 4, 3)),
        (draw(31, 4)[:, ::2], draw(31, 2)),
        (draw(40, 50), draw(40, 1).expand(40, 50)),
        (draw(8, 3), torch._efficientzerotensor((8, 3), dtype=dtype)),
        (draw(65), draw(65)),
        (draw(9), None),
    ]
    made = []
    for weight, grad in pairs:
        p = nn.Parameter(torch.empty(0, dtype=weight.dtype))
        p.data = weight
        p.grad = grad
        made.append(p)
    return made


ODD = ((31, 2), (8, 3))  # with holes, without memory: no kernel takes them


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind, chosen", CASES, ids=name_of)
def test_odd_weights_among_others(kind, chosen, dtype, backend):
    ours, theirs = odd_ones(dtype), odd_ones(dtype)
    chosen = {"eps": 1e-3, **chosen}  # a centered variance has lost digits
    mine = kind([{"params": ours[:2]}, {"params": ours[2:]}], **copy.deepcopy(chosen))
    other = KINDS[kind]([{"params": theirs[:2]}, {"params": theirs[2:]}], **copy.deepcopy(chosen))
    groups = mine.param_groups
    for _ in range(2):
        with ganfast.backend(backend, "reference"):
            mine.step()
        other.step()
    assert mine.param_groups is groups and [len(g["params"]) for g in groups] == [2, 7]
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)
        assert mine.state[p].keys() == other.state[q].keys()
        for name, x in mine.state[p].items():
            torch.testing.assert_close(x, other.state[q][name])


@ON_CPU
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_a_gradient_of_another_layout_gives_the_same_bits(kind, chosen, dtype):
    ours, plain = odd_ones(dtype), []
    ours = [p for p in ours if p.grad is not None and p.dtype == dtype and p.shape not in ODD]
    for p in ours:
        plain.append(nn.Parameter(torch.empty_like(p).copy_(p.detach())))
        plain[-1].grad = torch.empty_like(p).copy_(p.grad)
    with ganfast.backend("cpu"):
        for params in (ours, plain):
            optimizer = kind(params, weight_clip=2.0, **chosen)
            optimizer.step()
            optimizer.step()
    assert len(ours) == 5
    for p, q in zip(ours, plain, strict=True):
        assert torch.equal(p, q)


@ON_CPU
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_an_odd_weight_leaves_the_others_to_the_kernels(kind, chosen, monkeypatch):
    ours = odd_ones()
    optimizer, seen = kind(ours, **chosen), []
    step = getattr(ganfast.reference.optim, optimizer._op)

    def watched(optimizer):
        seen.append([ours.index(p) for g in optimizer.param_groups for p in g["params"]])
        step(optimizer)

    monkeypatch.setattr(ganfast.reference.optim, optimizer._op, watched)
    monkeypatch.setattr(nn.Parameter, "__eq__", lambda self, other: self is other)
    optimizer.step()
    assert seen == [[0, 4, 6]]  # complex, with holes, without memory


@ON_CPU
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_state_follows_its_weight_to_channels_last(kind, chosen):
    p, q = (nn.Parameter(torch.ones(4, 3, 2, 2)) for _ in range(2))
    mine, other = kind([p], **chosen), KINDS[kind]([q], **chosen)
    grad = torch.randn(4, 3, 2, 2)
    for step in range(3):
        p.grad, q.grad = grad.clone(), grad.clone()
        if step == 1:  # the state was made, or loaded, before
            for x in (p, q):
                x.data = x.data.contiguous(memory_format=torch.channels_last)
        with ganfast.backend("cpu", *(["reference"] if step == 1 else [])):
            mine.step()
        other.step()
    torch.testing.assert_close(p, q)
    for name, x in mine.state[p].items():
        torch.testing.assert_close(x, other.state[q][name])


@ON_CPU
def test_what_torch_refuses_leaves_the_others_alone():
    a, b = (nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    a.grad, b.grad = torch.ones(3, 3), torch.eye(3).to_sparse()
    with pytest.raises(RuntimeError, match="does not support sparse"):
        RMSprop([a, b]).step()
    assert (a == 1).all() and (b == 1).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("clip", [0, -0.5, float("nan"), float("inf"), True, "0.1", torch.zeros(2)])
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_a_clip_set_later_is_checked(kind, chosen, clip, backend):
    """A schedule or a checkpoint: 0 would set every weight to 0, -0.5 every weight to -0.5."""
    p, q = (nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = kind([{"params": [p]}, {"params": [q], "weight_clip": 0.5}], **chosen)
    p.grad = torch.ones(3)
    saved = optimizer.state_dict()
    saved["param_groups"][1]["weight_clip"] = clip
    with pytest.raises(ganfast.errors.InputError, match="weight_clip: got"):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[1]["weight_clip"] == 0.5
    optimizer.param_groups[1]["weight_clip"] = clip
    with ganfast.backend(backend):
        with pytest.raises(ganfast.errors.InputError, match="weight_clip: got"):
            optimizer.step()
        assert (p == 1).all() and (q == 1).all()  # nothing was done
        for fine in (1, torch.tensor(0.25), 0.25):
            optimizer.param_groups[1]["weight_clip"] = fine
            optimizer.step()
    assert (q == 0.25).all()


@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_in_the_place_of_torchs_own(kind, chosen, monkeypatch):
    """How people swap an optimizer under somebody else's code."""
    theirs = KINDS[kind]
    p, q = (nn.Parameter(torch.ones(4, dtype=torch.complex64)) for _ in range(2))
    p.grad, q.grad = (torch.full((4,), 1 + 2j) for _ in range(2))
    theirs([q], **chosen).step()
    monkeypatch.setattr(torch.optim, kind.__name__, kind)
    getattr(torch.optim, kind.__name__)([p], **chosen).step()
    assert torch.equal(p, q)


def test_who_takes_a_scalers_scale():
    """As torch: Lightning clips gradients under AMP only where the attribute is not set."""
    p = nn.Parameter(torch.ones(3))

    def takes(optimizer):
        return getattr(optimizer, "_step_supports_amp_scaling", False)

    assert not takes(Adam([p])) and not takes(RMSprop([p]))
    assert takes(Adam([p], fused=True)) and takes(torch.optim.Adam([p], fused=True))
    assert takes(Adam([p], capturable=True)) and takes(RMSprop([p], capturable=True))


@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_what_torch_refuses_is_refused(kind, chosen):
    p = nn.Parameter(torch.randn(3, 3))
    p.grad = torch.eye(3).to_sparse()
    with pytest.raises(RuntimeError, match="does not support sparse"):
        kind([p]).step()
    for wrong in ({"lr": -1.0}, {"eps": -1.0}, {"weight_decay": -1.0}):
        with pytest.raises(ValueError, match="Invalid"):
            kind([p], **wrong)
    with pytest.raises(ValueError, match="empty parameter list"):
        kind([])
    for clip in (0, -1.0, torch.nan, torch.inf, "0.01"):
        with pytest.raises(ValueError, match="weight_clip: got .* finite number above 0"):
            kind([p], weight_clip=clip)
    with pytest.raises(ValueError, match="weight_clip: got 0"):
        kind([p]).add_param_group({"params": [nn.Parameter(torch.ones(1))], "weight_clip": 0})
    with pytest.raises(ValueError, match="the clip is not differentiable"):
        kind([p], weight_clip=0.1, differentiable=True)
    p.grad = torch.ones(3, 3)
    with pytest.raises(AssertionError, match="capturable=True"):  # torch has none for the CPU
        kind([p], capturable=True).step()


@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_a_differentiable_step_is_torchs(kind, chosen):
    def after_a_step(of):
        start = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        gradient = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
        weight = start.clone()
        weight.retain_grad()
        weight.grad = gradient.clone()
        of([weight], lr=0.1, eps=1.0, differentiable=True, **chosen).step()
        return weight, *torch.autograd.grad(weight.sum(), (start, gradient))

    for x, y in zip(after_a_step(kind), after_a_step(KINDS[kind]), strict=True):
        assert x.abs().max() > 0 and torch.equal(x, y)


@ON_CPU
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_versions_are_bumped(kind, chosen):
    w, unused = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5))
    optimizer = kind([w, unused], **chosen)
    x = torch.randn(5, requires_grad=True)
    loss = (w * x).sum()
    w.grad = torch.ones(5)
    with ganfast.backend("cpu"):
        optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert w._version > 0 and unused._version == 0 and w.grad._version == 0
    assert all(value._version > 0 for value in optimizer.state[w].values())


@ON_CPU
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind, chosen", [*BOTH, CASES[12], CASES[20]], ids=name_of)
def test_the_same_bits_for_any_number_of_threads(kind, chosen, dtype):
    shapes = ((300, 301), (7,), (50_001,))
    results = []
    for count in (1, 1, 2, 3):
        random = torch.Generator().manual_seed(3)
        params = [nn.Parameter(torch.randn(s, generator=random).to(dtype)) for s in shapes]
        grads = [gradients(params, seed) for seed in range(3)]
        with threads(count), ganfast.backend("cpu"):
            run(kind, params, grads, **copy.deepcopy(chosen))
        results.append(params)
    for other in results[1:]:
        assert all(torch.equal(p, q) for p, q in zip(results[0], other, strict=True))


@ON_CPU
@pytest.mark.parametrize("kind, chosen", CASES, ids=name_of)
def test_every_instruction_set(kind, chosen):
    from ganfast import _cpu

    best = _cpu.isa()
    results = []
    try:
        for isa in _cpu.supported_isas():
            _cpu.use_isa(isa)
            for dtype in DTYPES:
                params = parameters(dtype)
                with ganfast.backend("cpu"):
                    run(kind, params, [gradients(params, s) for s in range(2)], **chosen)
                results.append(params)
    finally:
        _cpu.use_isa(best)
    for index, params in enumerate(results):
        for p, q in zip(params, results[index % len(DTYPES)], strict=True):
            torch.testing.assert_close(p, q)


@ON_CPU
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_what_changes_between_steps_is_seen(kind, chosen):
    """Nothing is remembered from one step to the next: new memory, new state, dropped gradients."""
    p, q = parameters()[4], parameters()[4]
    mine, theirs = kind([p], lr=0.1, **chosen), KINDS[kind]([q], lr=0.1, **chosen)

    def step(seed):
        for w, optimizer in ((p, mine), (q, theirs)):
            w.grad = torch.randn(w.shape, generator=torch.Generator().manual_seed(seed))
            optimizer.step()
        torch.testing.assert_close(p.detach(), q.detach())

    step(0)
    p.data, q.data = p.data.clone(), q.data.clone()
    step(1)
    mine.load_state_dict(copy.deepcopy(mine.state_dict()))
    step(2)
    p.data, q.data = p.data[:7].clone(), q.data[:7].clone()
    for w, optimizer in ((p, mine), (q, theirs)):
        optimizer.state[w] = {
            k: v if v.dim() == 0 else v[:7] for k, v in optimizer.state[w].items()
        }
    step(3)
    mine.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = 0.5
    step(4)
    mine.zero_grad(), theirs.zero_grad()
    before = p.detach().clone()
    mine.step()
    assert torch.equal(p, before)
    mine.state.clear(), theirs.state.clear()
    step(5)


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events")  # torch 2.11 says so
def test_schedulers_closures_and_hooks():
    p = nn.Parameter(torch.ones(3))
    optimizer = RMSprop([p], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    seen = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before")),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after")),
        register_optimizer_step_post_hook(lambda *_: seen.append("anyone")),
    ]

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        seen.append("closure")
        return loss

    with torch.no_grad():
        assert optimizer.step(closure) == 3
    scheduler.step()
    assert seen == ["before", "closure", "after", "anyone"]
    assert optimizer.param_groups[0]["lr"] == 0.5 and (p < 1).all()
    # What torch's step does where no kernel serves runs the hooks once too.
    torch.optim.RMSprop([nn.Parameter(torch.ones(1))])
    with ganfast.backend("reference"):
        optimizer.step()
    assert seen[4:] == ["before", "after", "anyone"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(seen) == 7
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    assert "Optimizer.step#RMSprop.step" in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
@pytest.mark.parametrize("unscale_first", [False, True])
@pytest.mark.parametrize("takes_scale", [False, True])
def test_under_a_grad_scaler(kind, chosen, backend, unscale_first, takes_scale):
    params, plain = parameters(), parameters()
    mine, theirs = kind(params, weight_clip=0.5, **chosen), KINDS[kind](plain, **chosen)
    if takes_scale:  # as with capturable, which torch has on other devices
        mine._step_supports_amp_scaling = True
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)
    for seed in range(4):
        grads = gradients(params, seed)
        scale = scaler.scale(torch.ones(())).item()
        give(params, [g * scale for g in grads])
        give(plain, grads)
        bad = seed == 2
        if bad:
            params[2].grad[0, 0] = torch.inf
            before = [p.detach().clone() for p in params]
        with ganfast.backend(backend):
            if unscale_first:
                scaler.unscale_(mine)
            scaler.step(mine)
        scaler.update()
        if bad:
            assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
            assert scaler.get_scale() == scale / 2
            continue
        theirs.step()
        for p, q in zip(params, plain, strict=True):
            q.data.clamp_(-0.5, 0.5)
            torch.testing.assert_close(p.detach(), q.detach())
            torch.testing.assert_close(p.grad, q.grad)  # unscaled, as after torch's own step
            assert mine.state[p]["step"] == theirs.state[q]["step"]
    assert not hasattr(mine, "found_inf") and not hasattr(mine, "grad_scale")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind, chosen", BOTH, ids=name_of)
def test_inside_torch_compile(kind, chosen):
    torch.compiler.reset()
    params, plain = parameters()[2:4], parameters()[2:4]
    mine, theirs = kind(params, weight_clip=0.5, **chosen), KINDS[kind](plain, **chosen)
    step = torch.compile(mine.step, backend="aot_eager")
    for seed in range(3):
        grads = gradients(params, seed)
        give(params, grads), give(plain, grads)
        step()
        theirs.step()
        for p, q in zip(params, plain, strict=True):
            q.data.clamp_(-0.5, 0.5)
            torch.testing.assert_close(p.detach(), q.detach())


def test_rounding_cannot_make_a_centered_variance_negative():
    """A gradient that never changes: v - mean^2 drops below 0, and torch takes the root of that."""
    p = nn.Parameter(torch.zeros(1000))
    grads = [[torch.linspace(0.1, 3, 1000)]] * 60
    run(RMSprop, [p], grads, centered=True, alpha=0.3, eps=1e-3)
    if "cpu" in BACKENDS:
        assert p.isfinite().all()


@pytest.mark.filterwarnings("ignore")  # torch.distributed.checkpoint warns at its import
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "chosen"), BOTH, ids=name_of)
def test_asking_for_the_state_changes_no_weight(kind, chosen, backend):
    """torch.distributed.checkpoint makes a state that is not there yet by a step at lr = 0."""
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    module = nn.Linear(3, 2)
    kept = [p.detach().clone() for p in module.parameters()]
    optimizer = kind(module.parameters(), lr=0.1, weight_clip=0.01, **chosen)
    with ganfast.backend(backend):
        optimizer.state_dict(), repr(optimizer)
        assert not optimizer.state
        asked = get_optimizer_state_dict(module, optimizer)
        assert asked["state"].keys() == {"weight", "bias"}
        assert all(map(torch.equal, module.parameters(), kept))
        assert optimizer.param_groups[0]["weight_clip"] == 0.01
        # Any gradient makes it a step, whatever its learning rate.
        fresh = kind(module.parameters(), lr=0.0, weight_clip=0.01, **chosen)
        module(torch.ones(1, 3)).sum().backward()
        fresh.step()
    assert max(p.abs().max() for p in module.parameters()) <= 0.01


@pytest.mark.parametrize("kind", [RMSprop, Adam])
@pytest.mark.parametrize(
    "parametrise, name",
    [
        (torch.nn.utils.parametrizations.spectral_norm, "0.weight"),
        (torch.nn.utils.parametrizations.weight_norm, "0.weight"),
        (torch.nn.utils.spectral_norm, "0.weight"),
    ],
)
def test_a_clip_of_what_a_weight_is_made_from_is_told_by_name(kind, parametrise, name):
    critic = torch.nn.Sequential(parametrise(torch.nn.Linear(2, 1)))
    with pytest.warns(UserWarning, match=f"weight_clip: {name} is parametrised") as told:
        kind(critic.named_parameters(), weight_clip=0.1)
    assert len(told) == 1 and told[0].filename == __file__
    plain = torch.nn.Linear(2, 1)
    optimizer = kind(plain.named_parameters(), weight_clip=0.1)  # warnings are errors here
    with pytest.warns(UserWarning, match=name) as told:
        optimizer.add_param_group({"params": critic.named_parameters()})
    assert len(told) == 1 and told[0].filename == __file__
    kind(critic.named_parameters())  # nothing is clipped
    kind(critic.parameters(), weight_clip=0.1)  # nothing can be known
