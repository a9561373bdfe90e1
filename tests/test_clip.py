"""clip_weights_: every tensor in its bound, and nothing else about it changed."""

from __future__ import annotations

import pytest
import torch
import truth
from torch import nn
from truth import DTYPES, EXTREMES, SIZES, threads

import ganfast
import ganfast.functional as GF
from ganfast import _dispatch, reference
from ganfast.errors import Refusal

BACKENDS = [
    name
    for name, ok, _ in ganfast.explain("clip_weights_", torch.zeros(1))
    if ok and name in ("cpu", "reference")
]


def clamped(x, bound):
    return x.detach().clone().clamp(-bound, bound)


def test_the_compiled_kernel_serves_where_it_is_built():
    if "cpu" in truth.backends():
        assert BACKENDS == ["cpu", "reference"]
        assert (
            _dispatch.serve("clip_weights_", [torch.zeros(1)]).__name__
            == "ganfast.backends.cpu.optim"
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bound", [0.01, 0.1, 3])
def test_is_torchs_clamp_in_every_dtype_side_by_side(backend, bound):
    tensors = [torch.randn(n).to(dtype) for dtype in DTYPES for n in (0, *SIZES)]
    tensors += [torch.tensor(EXTREMES).to(dtype) for dtype in DTYPES]
    expected = [clamped(x, bound) for x in tensors]
    with ganfast.backend(backend):
        assert GF.clip_weights_(tensors, bound) is None
    for x, y in zip(tensors, expected, strict=True):
        assert x.dtype == y.dtype
        torch.testing.assert_close(x, y, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_small_halves_stay_where_denormals_are_flushed(backend):
    """A subnormal float16 is no float32 denormal, and every size ends in a scalar loop."""
    x = torch.tensor([1e-5, 3e-5, -6e-5, 6e-8, 0.5, -0.0, 2e-5], dtype=torch.float16)
    y, expected = x.clone(), clamped(x, 0.1)
    assert torch.set_flush_denormal(True)
    try:
        with ganfast.backend(backend), threads(1):
            GF.clip_weights_([y], 0.1)
    finally:
        torch.set_flush_denormal(False)
    assert torch.equal(y, expected)


def test_nan_stays_and_infinity_goes_to_the_bound():
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.5, -0.0])
    GF.clip_weights_([x], 0.25)
    assert x[0].isnan() and x[1:].tolist() == [0.25, -0.25, 0.25, 0.0]
    assert x[4].signbit()


LAYOUTS = {
    "channels_last": lambda: torch.randn(4, 3, 5, 6).contiguous(memory_format=torch.channels_last),
    "transposed": lambda: torch.randn(7, 9).t(),
    "scalar": lambda: torch.randn(()),
    "ones": lambda: torch.randn(1, 6, 1).transpose(0, 2),
    "slice": lambda: torch.randn(9, 8)[:, ::2],
    "part": lambda: torch.randn(9, 8)[2:5],
    "holes, permuted": lambda: torch.randn(4, 5, 6)[:, :3].permute(2, 0, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout):
    x = LAYOUTS[layout]()
    base = x if x._base is None else x._base
    before, expected = base.clone(), clamped(x, 0.3)
    outside = torch.ones_like(base, dtype=torch.bool)
    torch.as_strided(outside, x.shape, x.stride(), x.storage_offset()).fill_(False)
    GF.clip_weights_([torch.randn(3), x], 0.3)
    assert torch.equal(x, expected)
    assert torch.equal(base[outside], before[outside]), "memory between the elements was touched"


@pytest.mark.skipif("cpu" not in BACKENDS, reason="the C++ kernels were not built")
def test_any_dense_memory_is_one_call_and_only_holes_go_to_torch():
    from ganfast.backends.cpu import optim

    for name, make in LAYOUTS.items():
        if name in ("slice", "holes, permuted"):
            with pytest.raises(Refusal):
                optim.clip_weights_([make()], 0.3, False)
        else:
            assert optim.clip_weights_([make()], 0.3, False) is None
    with (
        ganfast.backend("cpu"),
        pytest.raises(RuntimeError, match="'cpu' was forced .* is not dense"),
    ):
        GF.clip_weights_([torch.randn(9, 8)[:, ::2]], 0.3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_versions_are_bumped_so_that_a_stale_backward_raises(backend):
    w, x = nn.Parameter(torch.randn(5)), torch.randn(5, requires_grad=True)
    loss = (w * x).sum()
    with ganfast.backend(backend):
        GF.clip_weights_([w], 0.1)
    assert w._version > 0 and w.requires_grad and w.grad_fn is None
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_fraction_at_the_bound(backend, dtype):
    x = torch.tensor([0.1, -0.1, 0.2, -5.0, 0.05, 0.0, torch.nan, torch.inf]).to(dtype)
    y = torch.full((3000,), 0.01, dtype=dtype)
    with ganfast.backend(backend):
        fraction = GF.clip_weights_([x, y], 0.1, return_fraction=True)
    assert fraction.shape == () and fraction.dtype == torch.float32
    assert fraction.item() == pytest.approx(5 / 3008)


def test_the_fraction_over_what_has_holes():
    x = torch.ones(4, 6)
    assert GF.clip_weights_([x[:, ::2], torch.zeros(12)], 0.5, return_fraction=True) == 0.5
    assert x.sum() == 12 + 6


def critic():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(5),
        nn.InstanceNorm2d(4, affine=True), nn.RMSNorm(5), nn.Flatten(), nn.Linear(5, 2),
    )  # fmt: skip


def test_norm_layers_are_a_choice():
    """WassersteinGAN issue 18: a batch norm's scale held at 0.01 stops the signal."""
    norms = (1, 2, 3, 4, 5)
    everything, spared = critic(), critic()
    buffers = [b.clone() for b in spared.buffers()]
    GF.clip_weights_(everything, 0.01)
    GF.clip_weights_(spared, 0.01, norm_layers=False)
    for i in norms:
        assert (everything[i].weight == everything[i].weight.new_tensor(0.01)).all()
        assert (spared[i].weight == 1).all()
    for module in (everything, spared):
        assert max(module[i].weight.abs().max() for i in (0, 7)) <= 0.01
    assert all(torch.equal(a, b) for a, b in zip(spared.buffers(), buffers, strict=True))
    with pytest.raises(ValueError, match="norm_layers: got False for a list of tensors"):
        GF.clip_weights_(critic().parameters(), 0.01, norm_layers=False)


PARAMETERS = {
    "module": lambda m: m,
    "parameters": lambda m: m.parameters(),
    "named_parameters": lambda m: m.named_parameters(),
    "list": lambda m: list(m.parameters()),
    "generator": lambda m: (p for p in m.parameters()),
}


@pytest.mark.parametrize("kind", PARAMETERS)
def test_what_parameters_may_be(kind):
    module = critic()
    GF.clip_weights_(PARAMETERS[kind](module), 0.01)
    assert max(p.abs().max() for p in module.parameters()) <= 0.01


def test_parameters_may_be_one_tensor():
    x = torch.ones(2, 3)
    GF.clip_weights_(x, 0.5)
    assert x.sum() == 3


@pytest.mark.parametrize(
    "bound", [0, -0.1, torch.nan, torch.inf, "0.1", None, True, torch.zeros(2)]
)
def test_a_bad_bound(bound):
    with pytest.raises(ValueError, match=r"bound: got .* finite number above 0"):
        GF.clip_weights_(nn.Linear(2, 1), bound)


@pytest.mark.parametrize("nothing", [iter(()), [], nn.ReLU()], ids=["used up", "list", "module"])
def test_nothing_to_clip(nothing):
    with pytest.raises(ValueError, match="parameters: got nothing to clip"):
        GF.clip_weights_(nothing, 0.1)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (torch.ones(3, dtype=torch.cfloat), " is torch.complex64"),
        (torch.ones(3, dtype=torch.int32), " is torch.int32"),
        (torch.eye(3).to_sparse(), " is torch.sparse_coo"),
        (nn.UninitializedParameter(), " has no weights yet"),
    ],
    ids=["complex", "integer", "sparse", "uninitialized"],
)
def test_a_bad_tensor_is_named_and_nothing_is_done_by_halves(bad, says):
    good = torch.full((3,), 9.0)
    with pytest.raises(ValueError, match="item 1" + says):
        GF.clip_weights_([good, bad], 0.1)
    with pytest.raises(ValueError, match="critic.bias" + says):
        GF.clip_weights_([("critic.weight", good), ("critic.bias", bad)], 0.1)
    with pytest.raises(TypeError, match="item 1 is a float; give tensors"):
        GF.clip_weights_([good, 3.0], 0.1)
    module = nn.Module()
    module.weight = nn.Parameter(torch.full((3,), 9.0))
    module.register_parameter("phase", nn.Parameter(torch.ones(2, dtype=torch.cfloat)))
    with pytest.raises(ValueError, match="parameters: phase is torch.complex64"):
        GF.clip_weights_(module, 0.1)
    assert (good == 9).all() and (module.weight == 9).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_instruction_set_and_number_of_threads(isa, count):
    tensors = [torch.randn(n).to(dtype) for dtype in DTYPES for n in (5, 40_001, 70_000)]
    expected = [clamped(x, 0.5) for x in tensors]
    with threads(count):
        GF.clip_weights_(tensors, 0.5)
    assert all(map(torch.equal, tensors, expected))


# Dynamo's own imports warn; nothing of ours does.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_inside_torch_compile():
    torch.compiler.reset()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def step(w):
        GF.clip_weights_([w], 0.1)
        return 2 * w

    w = torch.randn(8)
    expected = clamped(w, 0.1)
    assert torch.equal(step(w), 2 * expected) and torch.equal(w, expected)


def test_mixed_devices_go_one_by_one():
    there = torch.ones(3, device="meta")
    x = torch.ones(3)
    GF.clip_weights_([x, there], 0.5)
    assert (x == 0.5).all()


def test_subclasses_are_clipped_by_torch():
    x = torch.ones(3).as_subclass(type("Tagged", (torch.Tensor,), {}))
    GF.clip_weights_([x], 0.5)
    assert torch.equal(x.as_subclass(torch.Tensor), torch.full((3,), 0.5))


def test_the_reference_counts():
    x = torch.tensor([2.0, -2.0, 0.1])
    assert reference.optim.clip_weights_([x, x], 1.0, True) == 4


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.spectral_norm,
        nn.utils.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
    ],
    ids=["old spectral", "old weight", "spectral", "weight"],
)
def test_a_weight_that_is_made_from_what_is_clipped_is_said(wrap):
    module = nn.Sequential(nn.Linear(3, 2), wrap(nn.Linear(2, 2)))
    with pytest.warns(UserWarning, match=r"parameters: 1.weight is parametrised") as caught:
        GF.clip_weights_(module, 0.01)
    assert caught[0].filename == __file__
