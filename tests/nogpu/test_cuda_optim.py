"""The clip and the steps of csrc/cuda/optim.cu, run on the host, against torch's own."""

from __future__ import annotations

import copy

import cuda_host
import pytest
import torch
import torch._dynamo  # now: gpu() takes back the modules that are first imported inside
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import ganfast.functional as GF
from ganfast import _dispatch
from ganfast.backends import cuda
from ganfast.backends.cuda import optim as cuda_optim
from ganfast.errors import InputError, NoState, Refusal
from ganfast.optim import Adam, RMSprop

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SHAPES = ((), (0,), (3, 5), (4096,), (4097,), (3, 4, 5, 5), (91, 93))
KINDS = {RMSprop: torch.optim.RMSprop, Adam: torch.optim.Adam}
CASES = [
    (RMSprop, {}),
    (RMSprop, {"centered": True, "weight_decay": 0.1}),
    (RMSprop, {"momentum": 0.9, "maximize": True}),
    (RMSprop, {"momentum": 0.9, "centered": True}),
    (Adam, {}),
    (Adam, {"betas": (0.0, 0.9), "weight_decay": 0.1}),
    (Adam, {"amsgrad": True, "maximize": True}),
    (Adam, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
]


@pytest.fixture(autouse=True)
def on_the_cuda_backend(monkeypatch):
    """Every op on these CPU tensors by the CUDA C++ backend, whose kernels run on the host."""
    monkeypatch.setattr(cuda, "why_not", lambda device: None)
    monkeypatch.setattr(_dispatch, "_chosen", {})
    with cuda_host.gpu() as launches, _dispatch.backend("cuda", "reference"):
        yield launches


def parameters(dtypes=DTYPES):
    random = torch.Generator().manual_seed(5)
    made = [torch.randn(s, generator=random).to(d) for s in SHAPES for d in dtypes]
    made += [torch.randn(4, 3, 5, 6, generator=random).to(memory_format=torch.channels_last)]
    return [nn.Parameter(x) for x in made]


def give(params, seed, factor=1.0):
    random = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=random) * factor)


def test_clips_all_in_one_launch(on_the_cuda_backend):
    tensors = parameters()
    tensors[2].data.fill_(torch.nan), tensors[3].data.fill_(torch.inf)
    expected = [x.detach().clamp(-0.3, 0.3) for x in tensors]
    fraction = GF.clip_weights_(tensors, 0.3, return_fraction=True)
    assert [each[0] for each in on_the_cuda_backend] == ["clip_weights_mixed"]
    at_bound = 0
    for x, y in zip(tensors, expected, strict=True):
        torch.testing.assert_close(x.detach(), y, rtol=0, atol=0, equal_nan=True)
        at_bound += (y.abs() == torch.tensor(0.3, dtype=y.dtype)).sum().item()
        assert x._version > 0
    assert fraction.item() == pytest.approx(at_bound / sum(x.numel() for x in tensors))
    with pytest.raises(Refusal, match=r"tensors\[1\] is not dense"):
        cuda_optim.clip_weights_([torch.ones(3), torch.ones(4, 6)[:, ::2]], 0.3, False)


@pytest.fixture
def flushed():
    """As CuPy compiles, with -ftz=true: a float32 denormal counts as 0."""
    assert torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


def test_every_half_is_read_and_written_where_denormals_are_flushed(flushed):
    halves = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.float16)
    clipped = halves.clone()
    GF.clip_weights_([clipped], 65504.0)
    finite = halves.isfinite()
    assert torch.equal(clipped[finite].view(torch.int16), halves[finite].view(torch.int16))
    assert torch.equal(clipped.isnan(), halves.isnan()) and not clipped.isinf().any()


@pytest.mark.parametrize(
    "kind, name, decay", [(RMSprop, "square_avg", 0.99), (Adam, "exp_avg_sq", 0.999)]
)
def test_small_halves_move_on_where_denormals_are_flushed(kind, name, decay, flushed):
    param = nn.Parameter(torch.full((40,), 3e-5, dtype=torch.float16))
    optimizer = kind([param], lr=1e-5)
    for _ in range(3):
        param.grad = torch.full_like(param, 0.03)
        optimizer.step()
    wanted = torch.full_like(param, 0.03**2 * (1 - decay**3))
    torch.testing.assert_close(optimizer.state[param][name], wanted, rtol=0.05, atol=0)


@pytest.mark.parametrize("kind, chosen", CASES, ids=lambda v: getattr(v, "__name__", None))
def test_steps_are_torchs(kind, chosen, on_the_cuda_backend):
    chosen = {"lr": 0.05, "eps": 1e-3, **chosen}
    ours, theirs = parameters(), parameters()
    exact = [nn.Parameter(p.detach().double()) for p in ours]
    mine = kind(ours, weight_clip=1.0, **chosen)
    others = [KINDS[kind](each, **copy.deepcopy(chosen)) for each in (theirs, exact)]
    for seed in range(3):
        give(ours, seed)
        for params, other in zip((theirs, exact), others, strict=True):
            for p, q in zip(params, ours, strict=True):
                p.grad = q.grad.to(p.dtype, copy=True)
            other.step()
            for p, q in zip(params, ours, strict=True):
                bound = torch.tensor(1.0).to(q.dtype).item()
                p.data.clamp_(-bound, bound)
        on_the_cuda_backend.clear()
        mine.step()
        assert len(on_the_cuda_backend) == 1, "one launch for a group"
    for p, q in zip(ours, theirs, strict=True):
        assert mine.state[p]["step"] == 3 and mine.state[p].keys() == others[0].state[q].keys()
    allowed = {dtype: 2 * error(theirs, exact, dtype) for dtype in DTYPES}
    finer = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    allowed[torch.float64] = 2 * finer * allowed[torch.float32]  # torch's is the truth itself
    for dtype in DTYPES:
        assert error(ours, exact, dtype) <= allowed[dtype], dtype


def error(params, exact, dtype):
    """The root mean square over all weights of one dtype."""
    pairs = [(p, q) for p, q in zip(params, exact, strict=True) if p.dtype == dtype]
    differences = torch.cat([(p.double() - q).flatten() for p, q in pairs])
    return differences.square().mean().sqrt().item()


@pytest.mark.parametrize("kind, chosen", CASES, ids=lambda v: getattr(v, "__name__", None))
def test_is_the_cpu_kernel_where_that_is_built(kind, chosen):
    """The formula is one header: two compilers make at most a few roundings of difference."""
    cpu = pytest.importorskip("ganfast.backends.cpu.optim")
    chosen = {"lr": 0.05, "eps": 1e-2, **chosen}
    ours, theirs = parameters((torch.float32, torch.float64)), None
    theirs = [nn.Parameter(p.detach().clone(memory_format=torch.preserve_format)) for p in ours]
    mine, other = (kind(each, weight_clip=1.0, **copy.deepcopy(chosen)) for each in (ours, theirs))
    for seed in range(3):
        give(ours, seed), give(theirs, seed)
        mine.step()
        other._create_state()
        assert getattr(cpu, kind._op)(other) is None
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("kind, chosen", [CASES[0], CASES[4]], ids=["RMSprop", "Adam"])
def test_a_scaler_is_read_where_it_is(kind, chosen):
    # Not in half precision: torch itself is far from the truth there.
    params, plain = (parameters((torch.float32, torch.float64)) for _ in range(2))
    chosen = {"lr": 0.05, "eps": 1e-3, **chosen}
    mine, theirs = kind(params, **chosen), KINDS[kind](plain, **chosen)
    mine._step_supports_amp_scaling = True  # as with capturable
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for seed in range(3):
        give(params, seed, factor=scaler.scale(torch.ones(())).item())
        give(plain, seed)
        if seed == 1:
            params[6].grad[0] = torch.inf
            before = [p.detach().clone() for p in params]
        scaler.step(mine)
        scaler.update()
        if seed == 1:
            assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
        else:
            theirs.step()
        for p, q in zip(params, plain, strict=True):
            assert mine.state[p]["step"] == theirs.state[q]["step"]
    for p, q in zip(params, plain, strict=True):
        torch.testing.assert_close(p, q)
        torch.testing.assert_close(p.grad, q.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaled_step_costs_no_more_for_more_weights(kind):
    def operations(count):
        params = [nn.Parameter(torch.ones(8)) for _ in range(count)]
        optimizer = kind(params)
        for p in params:
            p.grad = torch.ones(8)
        optimizer.step()
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(2.0), torch.tensor(0.0)
        with Counted() as counted:
            getattr(cuda_optim, kind._op)(optimizer)
        assert all(state["step"] == 2 for state in optimizer.state.values())
        return counted.calls

    assert operations(30) == operations(2)


class Counted(TorchDispatchMode):
    """Counts what torch executes, each of which is a launch on a GPU; there a counter is not read
    by the host, as it is here."""

    calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += func is not torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("later_last", [True, False])
def test_groups_idle_weights_and_other_counters(later_last):
    a, b, c = (nn.Parameter(torch.full((5,), float(i + 10))) for i in range(3))
    first = [a, b] if later_last else [b, a]
    optimizer = Adam([{"params": first, "weight_clip": 0.5}, {"params": [c]}], lr=0.25)
    a.grad = c.grad = torch.ones(5)
    optimizer.step()
    assert (a == 0.5).all() and (b == 0.5).all()
    torch.testing.assert_close(c.detach(), torch.full((5,), 11.75))
    # A parameter that came later has a count of its own: its first step is lr long too.
    b.grad = torch.ones(5)
    optimizer.step()
    torch.testing.assert_close(b.detach(), torch.full((5,), 0.25))
    torch.testing.assert_close(a.detach(), torch.full((5,), 0.25))
    assert [int(optimizer.state[p]["step"]) for p in (a, b, c)] == [2, 1, 2]


def test_what_it_refuses_it_has_not_touched():
    def answer(p, grad, **chosen):
        p.grad = grad
        optimizer = RMSprop([p], **chosen)
        optimizer._create_state()
        before = p.detach().clone()
        with pytest.raises(Refusal) as told:
            cuda_optim.rmsprop(optimizer)
        assert torch.equal(p, before) and optimizer.state[p]["step"] == 0
        return str(told.value)

    p = nn.Parameter(torch.ones(4, 6))
    assert "layout" in answer(p, torch.ones(4, 12)[:, ::2])
    assert "layout" in answer(nn.Parameter(torch.ones(4, 12)[:, ::2]), torch.ones(4, 6))
    assert "differentiable" in answer(p, torch.ones(4, 6), differentiable=True)
    optimizer = RMSprop([p])
    with pytest.raises(NoState):
        cuda_optim.rmsprop(optimizer)


@pytest.mark.parametrize("kind, chosen", [CASES[0], CASES[4]], ids=["RMSprop", "Adam"])
def test_odd_weights_leave_the_others_to_the_kernel(kind, chosen, on_the_cuda_backend):
    grads = torch.ones(4, 6), torch.ones(6, 4).t(), torch.ones(2)
    shapes = (4, 6), (4, 6), (2,)
    ours, theirs = ([nn.Parameter(torch.ones(s)) for s in shapes] for _ in range(2))
    for each in (ours, theirs):
        for p, grad in zip(each, grads, strict=True):
            p.grad = grad.clone(memory_format=torch.preserve_format)
    mine, other = kind(ours, lr=0.05, **chosen), KINDS[kind](theirs, lr=0.05, **chosen)
    for _ in range(2):
        mine.step()
        other.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)
        assert mine.state[p]["step"] == 2
    assert [each[0] for each in on_the_cuda_backend] == [f"{kind._op}_step_float32"] * 2


def test_a_clip_set_later_is_checked():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = RMSprop([p])
    optimizer.param_groups[0]["weight_clip"] = -0.5
    with pytest.raises(InputError, match="weight_clip: got -0.5"):
        optimizer.step()
