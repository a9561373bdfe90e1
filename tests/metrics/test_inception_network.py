"""The plain network: the published names, the pools that make it FID's, and the peers' numbers."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganfast.metrics.choices import DIMS
from ganfast.metrics.inception import network as net
from ganfast.metrics.inception.network import InceptionNetwork, build_network, expected_state
from testing.inception_weights import random_state_dict, save_random_weights, smooth_pictures
from testing.torchvision_stub import import_torchvision

# The convolutions of torchvision's inception_v3 without its auxiliary head: name, in, out, kernel.
CONVOLUTIONS = """
Conv2d_1a_3x3 3 32 3 3 | Conv2d_2a_3x3 32 32 3 3 | Conv2d_2b_3x3 32 64 3 3
Conv2d_3b_1x1 64 80 1 1 | Conv2d_4a_3x3 80 192 3 3
"""
BLOCKS = {
    "A": """
        branch1x1 C 64 1 1 | branch5x5_1 C 48 1 1 | branch5x5_2 48 64 5 5
        branch3x3dbl_1 C 64 1 1 | branch3x3dbl_2 64 96 3 3 | branch3x3dbl_3 96 96 3 3
        branch_pool C P 1 1""",
    "B": """
        branch3x3 C 384 3 3 | branch3x3dbl_1 C 64 1 1 | branch3x3dbl_2 64 96 3 3
        branch3x3dbl_3 96 96 3 3""",
    "C": """
        branch1x1 C 192 1 1 | branch7x7_1 C P 1 1 | branch7x7_2 P P 1 7 | branch7x7_3 P 192 7 1
        branch7x7dbl_1 C P 1 1 | branch7x7dbl_2 P P 7 1 | branch7x7dbl_3 P P 1 7
        branch7x7dbl_4 P P 7 1 | branch7x7dbl_5 P 192 1 7 | branch_pool C 192 1 1""",
    "D": """
        branch3x3_1 C 192 1 1 | branch3x3_2 192 320 3 3 | branch7x7x3_1 C 192 1 1
        branch7x7x3_2 192 192 1 7 | branch7x7x3_3 192 192 7 1 | branch7x7x3_4 192 192 3 3""",
    "E": """
        branch1x1 C 320 1 1 | branch3x3_1 C 384 1 1 | branch3x3_2a 384 384 1 3
        branch3x3_2b 384 384 3 1 | branch3x3dbl_1 C 448 1 1 | branch3x3dbl_2 448 384 3 3
        branch3x3dbl_3a 384 384 1 3 | branch3x3dbl_3b 384 384 3 1 | branch_pool C 192 1 1""",
}
MIXED = """
5b A 192 32 | 5c A 256 64 | 5d A 288 64 | 6a B 288 0 | 6b C 768 128 | 6c C 768 160
6d C 768 160 | 6e C 768 192 | 7a D 768 0 | 7b E 1280 0 | 7c E 2048 0
"""


pytestmark = pytest.mark.usefixtures("one_thread")


def cells(text: str) -> list[list[str]]:
    return [cell.split() for line in text.strip().splitlines() for cell in line.split("|")]


def published() -> dict[str, tuple[int, ...]]:
    """Every name and shape of the published file."""
    rows = [(row[0], [int(x) for x in row[1:]]) for row in cells(CONVOLUTIONS)]
    for name, kind, inputs, inner in cells(MIXED):
        letters = {"C": inputs, "P": inner}
        for branch, *numbers in cells(BLOCKS[kind]):
            rows.append((f"Mixed_{name}.{branch}", [int(letters.get(x, x)) for x in numbers]))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (inputs, outputs, height, width) in rows:
        shapes[f"{name}.conv.weight"] = (outputs, inputs, height, width)
        for of in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{of}"] = (outputs,)
    return {**shapes, "fc.weight": (1008, 2048), "fc.bias": (1008,)}


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return smooth_pictures(2, seed=7)


def test_names_and_shapes_are_the_published_ones():
    wanted = published()
    assert len(wanted) == 94 * 5 + 2
    assert {name: tuple(shape) for name, shape in expected_state().items()} == wanted
    # 4 bytes each: the published file, without its table of contents.
    assert sum(torch.Size(shape).numel() for shape in wanted.values()) * 4 == 95_541_568


def test_loads_strictly():
    state = random_state_dict(0)
    network = build_network(state)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    loaded = network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    with pytest.raises(RuntimeError, match="fc.bias"):
        build_network({name: value for name, value in state.items() if name != "fc.bias"})
    with pytest.raises(RuntimeError, match="AuxLogits"):
        build_network({**state, "AuxLogits.fc.weight": torch.zeros(1)})
    InceptionNetwork().load_state_dict(loaded)  # the counters of torchvision's own files too


def test_batch_norm_as_published():
    norms = [m for m in InceptionNetwork().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 94
    assert {m.eps for m in norms} == {0.001}


def test_shapes_and_classifier(network, pictures):
    with torch.inference_mode():
        features, logits = network(pictures)
    assert features.shape == (2, 2048)
    assert logits.shape == (2, 1008)
    # Without the bias, which is what the Inception Score was defined with.
    torch.testing.assert_close(logits, nn.functional.linear(features, network.fc.weight))
    assert network.fc.bias.abs().min() > 0


def test_random_weights_behave_as_trained_ones(network):
    """What the other tests rest on: nothing dies, nothing explodes, pictures differ."""
    with torch.inference_mode():
        features, _ = network(smooth_pictures(6, seed=11))
    assert 0.1 < features.mean() < 3
    assert (features.amax(0) == 0).float().mean() < 0.02
    spread = features.std(0)
    assert spread.median() > 0.1 * features.mean()
    values = torch.linalg.svdvals(features - features.mean(0))[:5]
    assert values[-1] > 0.05 * values[0]  # not all along one direction


def test_random_weights_of_a_seed_are_the_same():
    one, two = random_state_dict(0), random_state_dict(0)
    assert all(torch.equal(one[name], two[name]) for name in one)
    one["fc.weight"].zero_()
    assert two["fc.weight"].any()


def naive_pool(x: Tensor, kind: str) -> Tensor:
    """3 x 3 pools of one channel, pixel by pixel."""
    height, width = x.shape
    if kind == "halve":
        rows = [
            [x[i : i + 3, j : j + 3].max() for j in range(0, width - 2, 2)]
            for i in range(0, height - 2, 2)
        ]
    else:
        reduce = Tensor.mean if kind == "average" else Tensor.max
        rows = [
            [reduce(x[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]) for j in range(width)]
            for i in range(height)
        ]
    return torch.tensor(rows)


def test_the_pools_by_hand():
    """One picture, worked out: a mean that counted the padding would be 12 / 9 in the corner."""
    x = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    averages = torch.tensor([[3, 3.5, 4], [4.5, 5, 5.5], [6, 6.5, 7]])
    assert torch.equal(naive_pool(x, "average"), averages)
    assert torch.equal(net.average_pool(x[None]), averages[None])
    maxima = torch.tensor([[5.0, 6, 6], [8, 9, 9], [8, 9, 9]])
    assert torch.equal(naive_pool(x, "maximum"), maxima)
    assert torch.equal(net.max_pool(x[None]), maxima[None])
    assert torch.equal(net.halve(x[None]), torch.tensor([[[9.0]]]))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Mixed_5b", "average"),
        ("Mixed_5c", "average"),
        ("Mixed_5d", "average"),
        ("Mixed_6a", "halve"),
        ("Mixed_6b", "average"),
        ("Mixed_6c", "average"),
        ("Mixed_6d", "average"),
        ("Mixed_6e", "average"),
        ("Mixed_7a", "halve"),
        ("Mixed_7b", "average"),
        ("Mixed_7c", "maximum"),
    ],
)
def test_the_pool_of_each_block(name, kind):
    """Its last channels, with a 1 x 1 convolution that lets the first input channel through."""
    block = getattr(InceptionNetwork(), name)
    inputs = {**published()}[next(k for k in published() if k.startswith(name))][1]
    x = torch.randn(1, inputs, 7, 9)
    if kind == "halve":
        seen, channel = slice(-inputs, None), 5
    else:
        seen, channel = slice(-len(block.branch_pool.bn.weight), None), 0
        with torch.no_grad():
            block.branch_pool.conv.weight.zero_()[:, 0] = 1
            block.branch_pool.bn.running_var.fill_(1 - block.branch_pool.bn.eps)
    with torch.inference_mode():
        found = block(x)[0, seen]
    wanted = naive_pool(x[0, channel], kind)
    if kind != "halve":
        wanted = wanted.relu()
    torch.testing.assert_close(found[channel], wanted)


def restated(state: dict[str, Tensor], x: Tensor) -> dict[int, Tensor]:
    """Each layer's features once more, of functions and strings alone, as the paper's tables go."""

    def conv(x: Tensor, name: str, stride: int = 1, padding: Any = 0) -> Tensor:
        x = nn.functional.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
        of = [state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var")]
        of += [state[f"{name}.bn.{part}"] for part in ("weight", "bias")]
        mean, variance, weight, bias = (value.view(1, -1, 1, 1) for value in of)
        return (weight * (x - mean) / torch.sqrt(variance + 0.001) + bias).clamp(min=0)

    def run(x: Tensor, block: str, *names: str, last: int = 1) -> Tensor:
        for name in names:
            kernel = state[f"{block}.{name}.conv.weight"].shape[2:]
            stride = last if name == names[-1] else 1
            same = (kernel[0] // 2, kernel[1] // 2)
            x = conv(x, f"{block}.{name}", stride, 0 if stride == 2 else same)
        return x

    def pooled(x: Tensor, kind: str) -> Tensor:
        if kind == "halve":
            return x.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))
        shape = [nn.functional.pad(y, (1, 1, 1, 1)) for y in (x, torch.ones_like(x))]
        around, exists = (y.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4) for y in shape)
        if kind == "average":
            return around.sum(4) / exists.sum(4)
        return around.masked_fill(exists == 0, -torch.inf).amax(4)

    x = conv(conv(x, "Conv2d_1a_3x3", stride=2), "Conv2d_2a_3x3")
    x = pooled(conv(x, "Conv2d_2b_3x3", padding=1), "halve")
    layers = [x]
    x = pooled(conv(conv(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), "halve")
    layers.append(x)
    for name, kind, *_ in cells(MIXED):
        b = f"Mixed_{name}"
        double = [f"branch3x3dbl_{i}" for i in (1, 2, 3)]
        pool = "maximum" if name == "7c" else "average"
        if kind == "A":
            parts = [run(x, b, "branch1x1"), run(x, b, "branch5x5_1", "branch5x5_2")]
            parts += [run(x, b, *double), run(pooled(x, pool), b, "branch_pool")]
        elif kind == "B":
            parts = [run(x, b, "branch3x3", last=2), run(x, b, *double, last=2)]
            parts += [pooled(x, "halve")]
        elif kind == "C":
            once = [f"branch7x7_{i}" for i in (1, 2, 3)]
            twice = [f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)]
            parts = [run(x, b, "branch1x1"), run(x, b, *once), run(x, b, *twice)]
            parts += [run(pooled(x, pool), b, "branch_pool")]
        elif kind == "D":
            seven = [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)]
            parts = [run(x, b, "branch3x3_1", "branch3x3_2", last=2), run(x, b, *seven, last=2)]
            parts += [pooled(x, "halve")]
        else:
            three, deep = run(x, b, "branch3x3_1"), run(x, b, *double[:2])
            parts = [run(x, b, "branch1x1")]
            parts += [run(three, b, f"branch3x3_2{side}") for side in "ab"]
            parts += [run(deep, b, f"branch3x3dbl_3{side}") for side in "ab"]
            parts += [run(pooled(x, pool), b, "branch_pool")]
        x = torch.cat(parts, 1)
        layers += [x] * (name in ("6e", "7c"))
    return {x.shape[1]: x.mean((2, 3)) for x in layers}


def test_against_a_restatement(pictures):
    """In float64, so that only a difference in what is computed can show."""
    state = {name: value.double() for name, value in random_state_dict(0).items()}
    x = pictures[:1, :, :123, :139].double()  # smaller than in use, and not square
    network = build_network(state)
    with torch.inference_mode():
        found = {dims: network.features(x, dims) for dims in DIMS}
        wanted = restated(state, x)
        assert torch.equal(network(x)[0], found[2048])
    assert found.keys() == wanted.keys() == {64, 192, 768, 2048}
    for dims, features in found.items():
        assert features.shape == (1, dims)
        assert float((features - wanted[dims]).norm() / wanted[dims].norm()) < 1e-13


def test_layers_after_the_one_asked_for_are_not_computed(network, pictures):
    ran = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: ran.append(name))
        for name, module in network.named_children()
    ]
    small = pictures[:1, :, :139, :123]
    with torch.inference_mode():
        network.features(small, 192)
    assert ran[-1] == "Conv2d_4a_3x3" and len(ran) == 5
    for hook in hooks:
        hook.remove()


@pytest.fixture
def peer() -> Any:
    """Imports a project that needs torchvision, or skips."""

    def imported(name: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                import_torchvision()
                return importlib.import_module(name)
            except (ImportError, RuntimeError) as error:
                pytest.skip(f"{name} cannot be imported here: {error}")

    return imported


def relative(found: Tensor, wanted: Tensor) -> float:
    """The largest error of an image's vector, as a share of its length."""
    return float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max())


def test_against_pytorch_fid(peer, monkeypatch, network, pictures):
    theirs = peer("pytorch_fid.inception")
    monkeypatch.setattr(
        theirs, "load_state_dict_from_url", lambda *args, **kwargs: random_state_dict(0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blocks = [theirs.InceptionV3.BLOCK_INDEX_BY_DIM[dims] for dims in DIMS]
        model = theirs.InceptionV3(blocks, resize_input=False, normalize_input=False).eval()
    with torch.inference_mode():
        for dims, activations in zip(DIMS, model(pictures), strict=True):
            # As its get_activations() does.
            wanted = nn.functional.adaptive_avg_pool2d(activations, (1, 1)).flatten(1)
            assert relative(network.features(pictures, dims), wanted) < 1e-5


def test_against_torch_fidelity(peer, network, pictures, tmp_path):
    theirs = peer("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path / "weights.pth"
    save_random_weights(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = theirs.FeatureExtractorInceptionV3(
            "inception-v3-compat", [*map(str, DIMS), "logits_unbiased"], str(path)
        )
    images = ((pictures + 1) * 127).round().to(torch.uint8)
    with torch.inference_mode():
        *layers, wanted_logits = model(images)
        scaled = (images.float() - 128) / 128
        for dims, wanted in zip(DIMS, layers, strict=True):
            assert relative(network.features(scaled, dims), wanted) < 1e-5
        _, logits = network(scaled)
    assert relative(logits, wanted_logits) < 1e-5
