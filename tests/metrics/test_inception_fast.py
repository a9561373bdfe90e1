"""The fast form computes what the plain network computes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ganfast.metrics.inception import fast as fast_module
from ganfast.metrics.inception import fused_conv
from ganfast.metrics.inception.fast import FastInception
from ganfast.metrics.inception.fused_conv import FusedConv, can_fuse, can_pack, folded
from ganfast.metrics.inception.network import ConvNorm, build_network
from testing.inception_weights import random_state_dict, smooth_pictures

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return smooth_pictures(5, seed=7).contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def met(network, pictures) -> tuple[tuple[Tensor, Tensor], dict[str, torch.Size]]:
    """What the plain network gives, and what each of its convolutions got, by name."""
    shapes, hooks = {}, []
    for name, module in network.named_modules():
        if isinstance(module, ConvNorm):

            def note(_, inputs, name=name):
                shapes[name] = inputs[0].shape

            hooks.append(module.register_forward_pre_hook(note))
    with torch.inference_mode():
        found = network(pictures)
    for hook in hooks:
        hook.remove()
    return found, shapes


@pytest.fixture(scope="module")
def truth(met) -> tuple[Tensor, Tensor]:
    return met[0]


def test_weights_are_packed_for_what_each_convolution_gets(network, met):
    shapes = fast_module._input_shapes(network, 5)
    modules = network.named_modules()
    assert {name: shapes[module] for name, module in modules if module in shapes} == met[1]


def relative(found: Tensor, wanted: Tensor) -> float:
    """The largest error of an image's vector, as a share of its length."""
    return float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max())


def test_float64_is_the_plain_network(pictures):
    """Only a difference in what is computed can show here."""
    state = {name: value.double() for name, value in random_state_dict(0).items()}
    plain = build_network(state)
    x = pictures[:1, :, :123, :139].double()  # smaller than in use, and not square
    with torch.inference_mode():
        wanted, wanted_logits = plain(x)
        features, logits = FastInception(plain, dtype=torch.float64)(x)
    assert features.dtype == logits.dtype == torch.float64
    assert relative(features, wanted) < 1e-12
    assert relative(logits, wanted_logits) < 1e-12


def test_float32(network, pictures, truth):
    with torch.inference_mode():
        features, logits = FastInception(network)(pictures)
    assert features.dtype == logits.dtype == torch.float32
    assert relative(features, truth[0]) < 1e-5  # 1.4e-6 was measured; 1e-4 is the contract
    assert relative(logits, truth[1]) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dims", [64, 192, 768])
def test_an_earlier_layer_is_a_network_that_ends_there(dims, dtype, network, pictures):
    fast = FastInception(network, dims=dims, dtype=dtype)
    convolutions = [module for module in fast.modules() if isinstance(module, FusedConv)]
    assert len(convolutions) == {64: 3, 192: 5, 768: 70}[dims]  # of 94
    with torch.inference_mode():
        found, wanted = fast(pictures[:2]), network.features(pictures[:2], dims)
    assert found.shape == (2, dims) and found.dtype == torch.float32
    assert relative(found, wanted) < (1e-5 if dtype == torch.float32 else BF16)


def test_without_packed_convolutions(network, pictures, truth, monkeypatch):
    monkeypatch.setattr(fused_conv, "can_pack", lambda dtype: False)
    fast = FastInception(network)
    assert not any(m.packed for m in fast.modules() if isinstance(m, FusedConv))
    with torch.inference_mode():
        features, _ = fast(pictures)
    assert relative(features, truth[0]) < 1e-4


def test_bfloat16(network, pictures, truth):
    fast = FastInception(network, dtype=torch.bfloat16)
    assert fast.first.bias.dtype == torch.float32  # it sees the pixels as they are
    with torch.inference_mode():
        features, logits = fast(pictures)
    assert features.dtype == logits.dtype == torch.float32
    assert relative(features, truth[0]) < BF16
    assert relative(logits, truth[1]) < BF16
    means = [x.mean(0, keepdim=True) for x in (features, truth[0])]
    assert relative(*means) < BF16 / 2


# bfloat16 rounds to 2^-9 at each of 48 convolutions in a row, and the errors add up; 0.017 was
# measured for an image, 0.012 for the mean of five.
BF16 = 0.03


def test_layout_batch_and_threads_do_not_matter(network, pictures):
    """Not in one bit: an image's features are its own, whatever it is looked at with."""
    fast = FastInception(network)
    small = pictures[..., :107, :91].contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        whole, _ = fast(small)
        assert torch.equal(fast(small.flip(0).contiguous())[0], whole.flip(0))
        assert torch.equal(torch.cat([fast(part)[0] for part in small.split(2)]), whole)
        try:
            for count in (2, 3):  # it was 1
                torch.set_num_threads(count)
                assert torch.equal(fast(small)[0], whole)
        finally:
            torch.set_num_threads(threads)
        assert fast(small[:0])[0].shape == (0, 2048)


def test_compiled(network, pictures, monkeypatch):
    """Traced as a whole; what Inductor makes of it is Inductor's."""
    compiler = partial(torch.compile, backend="eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", compiler)
    compiled = FastInception(network, compile=True)
    small = pictures[:2, :, :139, :123]
    with torch.inference_mode():
        wanted, _ = FastInception(network)(small)
        assert relative(compiled(small)[0], wanted) < 1e-5


def test_the_images_are_not_modified(network, pictures):
    before = pictures.clone()
    with torch.inference_mode():
        FastInception(network)(pictures)
    assert torch.equal(pictures, before)


def random_conv(*args, **kwargs) -> ConvNorm:
    conv = ConvNorm(*args, **kwargs).eval().requires_grad_(False)
    conv.bn.weight.uniform_(-1, 1)
    conv.bn.bias.normal_()
    conv.bn.running_mean.normal_()
    conv.bn.running_var.uniform_(0.01, 2)
    return conv


GEOMETRIES = [
    ((3, 32, 3), {"stride": 2}),
    ((24, 48, 1), {}),
    ((16, 16, (1, 7)), {"padding": (0, 3)}),
    ((16, 33, (3, 1)), {"padding": (1, 0)}),
    ((16, 20, 3), {"stride": 2, "padding": 1}),
]


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize(("args", "kwargs"), GEOMETRIES)
def test_a_fused_convolution(args, kwargs, pack, relu):
    conv = random_conv(*args, **kwargs)
    x = torch.randn(2, args[0], 13, 11)
    wanted = conv.double().bn(conv.conv(x.double()))
    assert wanted.min() < -0.1
    shape = x.shape if pack else None
    fused = FusedConv(conv.float(), shape, relu=relu, dtype=torch.float32, device=CPU)
    assert fused.packed == (pack and can_pack(torch.float32))
    with torch.inference_mode():
        found = fused(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, (wanted.relu() if relu else wanted).float())
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_folding_rounds_once():
    conv = random_conv(4, 6, 3)
    weight, bias = folded(conv)
    assert weight.dtype == bias.dtype == torch.float64
    scale = conv.bn.weight.double() / (conv.bn.running_var.double() + 0.001) ** 0.5
    assert torch.equal(weight, conv.conv.weight.double() * scale[:, None, None, None])
    torch.testing.assert_close(
        bias, conv.bn.bias.double() - conv.bn.running_mean.double() * scale, rtol=1e-15, atol=1e-15
    )


@pytest.mark.parametrize(
    "broken", [AttributeError, RuntimeError, TypeError, lambda *a: torch.zeros(2, 32, 5, 5)]
)
def test_an_operator_that_is_gone_or_wrong_is_not_used(broken, monkeypatch):
    def conv(*args):
        if isinstance(broken, type):
            raise broken("gone")
        return broken(*args)

    monkeypatch.setattr(fused_conv, "_packed_conv", conv)
    assert can_pack.__wrapped__(torch.float32) is False


def cudnn(x, weight, bias, stride, padding, dilation, groups):
    """What cuDNN's operator does, where there is none."""
    return conv2d(x, weight, bias, stride, padding, dilation, groups).relu_()


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("args", "kwargs"), GEOMETRIES)
def test_bias_and_relu_are_left_to_cudnn(args, kwargs, relu, monkeypatch):
    calls = []

    def counted(*args):
        calls.append(len(args))
        return cudnn(*args)

    monkeypatch.setattr(torch, "cudnn_convolution_relu", counted)
    conv, x = random_conv(*args, **kwargs), torch.randn(2, args[0], 13, 11)
    given = {"relu": relu, "dtype": torch.float32, "device": CPU}
    with torch.inference_mode():
        found = FusedConv(conv, fuse=True, **given)(x)
        assert torch.equal(found, FusedConv(conv, **given)(x))
    assert calls == [7] * relu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_cudnns_operator_is_used_where_it_is_as_good(dtype, monkeypatch):
    monkeypatch.setattr(torch, "cudnn_convolution_relu", cudnn, raising=False)
    assert can_fuse.__wrapped__(dtype, CPU)


@pytest.mark.parametrize("device, compile, as_good, fuse", [
    ("cuda", False, True, True), ("cuda", False, False, False),
    ("cuda", True, True, False), ("cpu", False, True, False),
])  # fmt: skip
def test_cudnns_operator_is_for_gpus_without_inductor(device, compile, as_good, fuse, monkeypatch):
    monkeypatch.setattr(fast_module, "can_fuse", lambda dtype, device: as_good)
    assert fast_module._Maker(None, torch.float32, torch.device(device), compile).fuse is fuse


WRONG = {
    "gone": AttributeError,
    "of another device": RuntimeError,
    "of another signature": TypeError,
    "without bias": lambda x, w, b, *more: cudnn(x, w, None, *more),
    "without ReLU": lambda *args: conv2d(*args),
    "NaN": lambda *args: cudnn(*args) * torch.nan,
    "of ten bits": lambda x, w, *more: cudnn(x.half().float(), w.half().float(), *more),
    "wrong for one geometry": lambda x, w, b, s, *more: cudnn(x, w, b, s, *more) + (s[0] - 1),
}


@pytest.mark.parametrize("kind", WRONG)
def test_nor_is_one_of_cudnns(kind, monkeypatch):
    def operator(*args):
        if isinstance(WRONG[kind], type):
            raise WRONG[kind]("gone")
        return WRONG[kind](*args)

    monkeypatch.setattr(torch, "cudnn_convolution_relu", operator, raising=False)
    assert not can_fuse.__wrapped__(torch.float32, CPU)


def test_the_probe_agrees_with_oneDNN_being_there():
    if torch.backends.mkldnn.is_available():
        assert can_pack(torch.float32)  # of every release of PyTorch that is supported
    assert not can_pack(torch.float64)  # oneDNN has none


def test_modules_are_all_in_evaluation_without_gradients(network):
    fast = FastInception(network)
    assert not list(fast.parameters())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
