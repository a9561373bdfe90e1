"""The tables of the optimizers' steps on CUDA: what is kept from one step to the next is never out
of date, and costs the host little."""

from __future__ import annotations

import copy
import time

import cuda_host
import pytest
import test_cuda_optim as suite
import torch
from torch import nn

from ganfast.backends.cuda import optim as cuda_optim
from ganfast.backends.cuda import table as tables
from ganfast.errors import NoState, Refusal
from ganfast.optim import Adam, RMSprop

on_the_cuda_backend = suite.on_the_cuda_backend


@pytest.fixture(params=["C++", "C++ by attributes", "Python"])
def reader(request, monkeypatch):
    """By what the tensors are read; by their attributes where torch has no DLPack exchange API."""
    if request.param == "Python":
        monkeypatch.setattr(tables, "_cpu", None)
        yield
        return
    if tables._cpu is None:
        pytest.skip("the C++ extension was not built")
    tables._cpu.use_exchange_api(request.param == "C++")
    yield
    tables._cpu.use_exchange_api(True)


@pytest.fixture
def sent(monkeypatch):
    """The tables that went to the device."""
    found, send = [], tables.send
    monkeypatch.setattr(tables, "send", lambda rows, *rest: found.append(rows) or send(rows, *rest))
    return found


def weights():
    random = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(s, generator=random)) for s in ((6, 6), (6, 6), (4100,), ())]


class Pair:
    """Our optimizer and torch's, on equal weights: after every change, both step alike."""

    def __init__(self, kind, **chosen):
        self.both = [kind(weights(), **chosen), suite.KINDS[kind](weights(), **chosen)]
        self.seed = 0

    def each(self, change):
        for optimizer in self.both:
            change(optimizer)

    def give(self, optimizer, new=False):
        random = torch.Generator().manual_seed(self.seed)
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            value = torch.randn(p.shape, generator=random).to(p.dtype)
            if p.grad is None or new:
                p.grad = torch.empty_like(p)
            p.grad.copy_(value)

    def step(self, new=False):
        self.seed += 1
        for optimizer in self.both:
            self.give(optimizer, new)
            optimizer.step()
        self.compare()

    def compare(self):
        ours, theirs = self.both
        for one, other in zip(ours.param_groups, theirs.param_groups, strict=True):
            for p, q in zip(one["params"], other["params"], strict=True):
                assert p.dtype == q.dtype
                torch.testing.assert_close(p.float(), q.float())
                for name, x in theirs.state[q].items():
                    torch.testing.assert_close(ours.state[p][name].float(), x.float())


def first(optimizer):
    return optimizer.param_groups[0]["params"][0]


def new_gradients(optimizer):
    held = [p.grad for p in optimizer.param_groups[0]["params"]]  # not in the same memory again
    optimizer.zero_grad(set_to_none=True)
    for p, grad in zip(optimizer.param_groups[0]["params"], held, strict=True):
        p.grad = grad.clone()


def gradients_change_places(optimizer):
    p, q = optimizer.param_groups[0]["params"][:2]
    p.grad, q.grad = q.grad, p.grad


def loaded(optimizer):
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def another_group(optimizer):
    made = nn.Parameter(torch.full((33,), 2.0))
    optimizer.add_param_group({"params": [made], "lr": 0.2})


def moved(optimizer):
    p = first(optimizer)
    p.data = p.data.clone()


def turned(optimizer):
    """In the same memory, but by columns."""
    p = first(optimizer)
    p.data, p.grad = p.data.t(), p.grad.t()
    for name, x in optimizer.state[p].items():
        optimizer.state[p][name] = x.t() if x.ndim else x


def turned_alone(optimizer):
    """The weight by columns, its gradient and state by rows."""
    first(optimizer).data = first(optimizer).data.t()


def another_size(optimizer):
    p = first(optimizer)
    p.grad, p.data = None, p.data[:3]
    for name, x in optimizer.state[p].items():
        optimizer.state[p][name] = x[:3] if x.ndim else x


def another_dtype(optimizer):
    for p in optimizer.param_groups[0]["params"]:
        p.grad, p.data = None, p.data.double()
        state = optimizer.state[p]
        state.update({name: x.double() for name, x in state.items() if name != "step"})


def state_elsewhere(optimizer):
    state = optimizer.state[first(optimizer)]
    state.update({name: x.clone() for name, x in state.items()})


def another_count(optimizer):
    optimizer.state[first(optimizer)]["step"] += 5


def frozen(optimizer):
    """A weight that is given no gradient until the next step."""
    p = first(optimizer)
    p.grad = None
    optimizer.step()


CHANGES = [
    *(new_gradients, gradients_change_places, loaded, another_group, moved, turned),
    *(turned_alone, another_size, another_dtype, state_elsewhere, another_count, frozen),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("kind", suite.KINDS)
def test_whatever_changes_the_next_step_sees_it(kind, change, reader, sent):
    pair = Pair(kind, lr=0.05, eps=1e-3)
    for _ in range(3):
        pair.step()
    assert len(sent) == 1, "nothing has moved"
    pair.each(change)
    pair.step()
    same = change is turned or (kind is RMSprop and change is another_count)
    assert len(sent) > 1 or same, "what is at these addresses is another thing now"
    pair.step()
    before = len(sent)
    pair.step()
    assert len(sent) == before or change is turned_alone


def test_memory_that_is_used_again(reader, sent):
    """New gradients where the old ones were: the table is right as it is."""
    pair = Pair(Adam, lr=0.05, eps=1e-3)
    arena = [torch.zeros(36) for _ in pair.both]
    for seed in range(3):
        pair.seed = seed
        for optimizer, memory in zip(pair.both, arena, strict=True):
            p = first(optimizer)
            p.grad = memory.view(6, 6)
        pair.step()
    assert len(sent) == 1
    for optimizer, memory in zip(pair.both, arena, strict=True):
        first(optimizer).grad = memory.view(6, 6).t()  # the same address, another order
    pair.step()


def test_a_gradient_of_another_dtype_is_refused(reader):
    pair = Pair(RMSprop, lr=0.05)
    pair.step()
    ours = pair.both[0]
    first(ours).data = first(ours).data.double()  # where torch lets it
    with pytest.raises(Refusal):
        cuda_optim.rmsprop(ours)


@pytest.mark.skipif(tables._cpu is None, reason="the C++ extension was not built")
@pytest.mark.parametrize("kind, chosen", suite.CASES, ids=lambda v: getattr(v, "__name__", None))
def test_both_readers_say_the_same(kind, chosen):
    params = suite.parameters()
    suite.give(params, 0)
    params[5].grad = None
    optimizer = kind(params, **chosen)
    optimizer.step()
    optimizer.state[params[7]]["step"] += 2
    arrays = cuda_optim._options(kind._op, optimizer.param_groups[0]).arrays
    told = tables.read(params[0], params, optimizer.state, arrays)
    other = tables.Reader(params[0].device, optimizer.state, arrays)
    for p in params:
        other.add(p)
    for one, two in zip(told, other.table(), strict=True):
        if isinstance(one, list):
            assert list(map(id, one)) == list(map(id, two))
        else:
            assert one == two
    assert len(told.idle) == 1 and tables.NAMES[told.dtype] == "mixed" and told.steps == 2


def test_what_both_readers_refuse(reader):
    def answer(change):
        p = nn.Parameter(torch.ones(4, 6))
        p.grad = torch.ones(4, 6)
        optimizer = Adam([p])
        optimizer._create_state()
        change(p, optimizer.state[p])
        with pytest.raises((Refusal, NoState)) as told:
            cuda_optim.adam(optimizer)
        assert p.eq(1).all() and not torch.as_tensor(optimizer.state[p].get("step", 0)).any()
        return type(told.value)

    def set_state(name, value):
        return lambda p, state: state.update({name: value})

    class Odd(torch.Tensor):
        pass

    refused = [
        set_state("exp_avg", torch.ones(6, 4)),
        set_state("exp_avg", torch.ones(4, 6).double()),
        set_state("exp_avg_sq", None),
        set_state("exp_avg", torch.ones(6, 4).t()),
        set_state("exp_avg", torch.ones(4, 6).as_subclass(Odd)),
        set_state("exp_avg", torch.ones(4, 6, device="meta")),
        set_state("exp_avg", torch._efficientzerotensor((4, 6))),
        set_state("step", 0),
        set_state("step", torch.zeros((), dtype=torch.float64)),
        set_state("step", torch.zeros(2)),
        lambda p, state: setattr(p, "grad", torch.ones(4, 6).to_sparse()),
        lambda p, state: setattr(p, "data", torch.ones(4, 12)[:, ::2]),
    ]
    assert [answer(change) for change in refused] == [Refusal] * len(refused)
    assert answer(lambda p, state: state.clear()) is NoState


@pytest.mark.parametrize("dtype", suite.DTYPES)
@pytest.mark.parametrize("kind", suite.KINDS)
def test_weights_that_begin_anywhere(kind, dtype, on_the_cuda_backend):
    """Sixteen bytes at a time or one element after another: the same bits."""

    def made(offset):
        random = torch.Generator().manual_seed(1)
        memory = torch.empty(4111 + 16 // dtype.itemsize, dtype=dtype)
        aligned = -memory.data_ptr() % 16 // dtype.itemsize
        p = nn.Parameter(memory[aligned + offset :][:4099])
        p.data.copy_(torch.randn(4099, generator=random))
        p.grad = torch.randn(4099, generator=random).to(dtype)
        return p

    results = []
    for offset in (0, 1):
        p = made(offset)
        assert p.data_ptr() % 16 == offset * dtype.itemsize % 16
        optimizer = kind([p], lr=0.05, weight_clip=1.0)
        for _ in range(2):
            optimizer.step()
        results.append(p.detach().clone())
    assert torch.equal(*results)
    name = f"{kind._op}_step_{str(dtype).removeprefix('torch.')}"
    assert {each[0] for each in on_the_cuda_backend} == {name}


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 64, 65, 1030])
def test_each_block_finds_its_tensor(count):
    sizes = [4097 if i in (0, 31, 40, count - 1) else 1 + i % 3 for i in range(count)]
    tensors = [torch.linspace(-2, 2, n) for n in sizes]
    expected = [x.clamp(-1, 1) for x in tensors]
    cuda_optim.clip_weights_(tensors, 1.0, False)
    assert all(map(torch.equal, tensors, expected))


@pytest.mark.usefixtures("reader")
def test_a_clip_sends_its_table_once(sent, monkeypatch):
    monkeypatch.setattr(tables, "_alone", {})
    tensors = [torch.full((n,), 2.0) for n in (5, 0, 4100)]
    for bound in (1.0, 0.5):
        cuda_optim.clip_weights_(tensors, bound, False)
        assert all((x == bound).all() for x in tensors)
    assert len(sent) == 1
    rows = torch.frombuffer(sent[0], dtype=torch.int64).view(tables.ROWS, 2)
    assert rows[0].tolist() == [0, 1] and rows[1].tolist() == [5, 4100]
    assert rows[5].tolist() == [tensors[0].data_ptr(), tensors[2].data_ptr()]
    tensors[0] = torch.full((5,), 2.0)
    cuda_optim.clip_weights_(tensors, 0.25, False)
    assert len(sent) == 2 and (tensors[0] == 0.25).all()
    others = [torch.ones(1) for _ in range(2 * tables._MOST)]
    for x in others:
        cuda_optim.clip_weights_([x], 0.25, False)
    assert len(tables._alone) == tables._MOST and all(x == 0.25 for x in others)


@pytest.mark.usefixtures("reader")
def test_what_a_clip_refuses():
    refused = (
        torch.ones(4, 6)[:, ::2],
        torch.ones(3, dtype=torch.int32),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(3, dtype=torch.complex64).conj().imag,
        torch.eye(3).to_sparse(),
        torch.ones(3, device="meta"),
        "no tensor",
    )
    for x in refused:
        given = [torch.full((3,), 2.0), x]
        with pytest.raises(Refusal):
            cuda_optim.clip_weights_(given, 1.0, False)
        assert (given[0] == 2).all()


@pytest.mark.skipif(tables._cpu is None, reason="the C++ extension was not built")
@pytest.mark.parametrize("count", [16, 200])
@pytest.mark.parametrize("new", [False, True], ids=["kept", "new gradients"])
def test_a_step_keeps_the_host_no_longer_than_torchs_fused_adam(count, new, monkeypatch):
    """Without any launch on our side; torch's own step of 8 elements is next to nothing."""
    monkeypatch.setattr(cuda_host, "launch", lambda *given, **options: None)
    params = [[nn.Parameter(torch.ones(8)) for _ in range(count)] for _ in range(2)]
    pair = Adam(params[0], lr=0.1), torch.optim.Adam(params[1], lr=0.1, fused=True)
    best = [float("inf")] * 2
    for turn in range(60):
        for index, optimizer in enumerate(pair):
            if new or turn == 0:
                for p in params[index]:
                    p.grad = torch.ones(8)
            start = time.perf_counter()
            optimizer.step()
            best[index] = min(best[index], time.perf_counter() - start)
    assert best[0] <= best[1], f"{1e6 * best[0]:.0f} us against {1e6 * best[1]:.0f}"
