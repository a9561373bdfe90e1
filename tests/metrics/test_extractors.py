"""Extractors: loading by name, what fixes their numbers, and every way to get one wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import test_libraries
import torch
from torch import Tensor, nn

from ganfast.errors import InputError
from ganfast.metrics.choices import EXTRACTORS, LIBRARIES
from ganfast.metrics.extractors import Extractor, load_extractor
from ganfast.metrics.extractors.extractor import identity
from ganfast.metrics.extractors.precision import check_precision, float32_products
from ganfast.metrics.inception.network import build_network
from ganfast.metrics.preprocessing import preprocess
from ganfast.metrics.protocols import PROTOCOLS
from testing.inception_weights import random_state_dict, save_random_weights

SOURCE = '''
import torch
from torch import nn

class Means(nn.Module):
    """The mean colours, and logits of them."""
    input_size = 6

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        assert x.dtype == torch.float32 and not self.training
        features = self.drop(x.mean((2, 3)) * self.scale)
        return features, features[:, :2]

class Alone(Means):
    input_size = (4, 7)
    def forward(self, x):
        assert x.shape[1:] == (3, 4, 7)
        return x.mean((2, 3)).double()

class Default(nn.Module):
    def forward(self, x):
        return x[:, 0, 0, :]

def gives(value, size=6):
    class Gives(nn.Module):
        input_size = size
        def forward(self, x):
            return value(x)
    return Gives

Image = gives(lambda x: x)
Three = gives(lambda x: (x.mean((2, 3)),) * 3)
Text = gives(lambda x: "features")
Flat = gives(lambda x: x.mean((1, 2, 3)))
Empty = gives(lambda x: x[:, :0, 0, 0])
Once = gives(lambda x: x.mean((0, 2, 3))[None])
Whole = gives(lambda x: x[:, :, 0, 0].long())
NaN = gives(lambda x: x.mean((2, 3)) * torch.nan)
NaNLogits = gives(lambda x: (x.mean((2, 3)), x.mean((2, 3)) / 0))
Softmax = gives(lambda x: (x.mean((2, 3)), x.mean((2, 3)).softmax(1)))
Fails = gives(lambda x: x @ x[0, 0, :2])
BadSize = gives(lambda x: x, size="big")
Changing = gives(lambda x: x.mean((2, 3))[:, : 3 if len(x) == 2 else 2])

def raises():
    raise RuntimeError("no disk\\nsecond line")

def needs(argument):
    return Means()

def number():
    return 7

table = {}
'''


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    save_random_weights(path)
    return path


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder, which is not on the path."""
    name = f"networks_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / f"{name}_broken.py").write_text("import torch\nraise ValueError('bad\\nmodule')")
    (tmp_path / f"{name}_needs.py").write_text("import not_installed_here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return name


def images(n: int = 3, height: int = 10, width: int = 12) -> Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (n, height, width, 3), dtype=torch.uint8, generator=random)


def test_inception(inception_file):
    extractor = load_extractor("inception", weights=inception_file)
    assert (extractor.name, extractor.dim, extractor.classes) == ("inception", 2048, 1008)
    assert extractor.protocol is PROTOCOLS["pytorch-fid"]
    assert extractor.precision == "fp32" and extractor.device == torch.device("cpu")
    features, logits = extractor(images(2))
    with torch.inference_mode():
        x = preprocess(images(2), PROTOCOLS["pytorch-fid"])
        wanted, wanted_logits = build_network(random_state_dict(0))(x)
    assert float((features - wanted).norm() / wanted.norm()) < 1e-4
    assert logits is not None
    assert float((logits - wanted_logits).norm() / wanted_logits.norm()) < 1e-4
    mixed, _ = extractor([images(1, 20, 30)[0], images(1)[0]])
    assert mixed.shape == (2, 2048)
    assert "not the published file" in extractor.notes[0]
    assert "inception" in repr(extractor) and "pytorch-fid" in repr(extractor)


@pytest.mark.parametrize("dims", [64, 192, 768])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_earlier_layer_of_inception(inception_file, dims, protocol):
    extractor = load_extractor(weights=inception_file, dims=dims, protocol=protocol)
    assert (extractor.dim, extractor.classes, extractor.layer) == (dims, None, dims)
    features, logits = extractor(images(2))
    with torch.inference_mode():
        x = preprocess(images(2), protocol)
        wanted = build_network(random_state_dict(0)).features(x, dims)
    assert logits is None and features.shape == (2, dims)
    assert float((features - wanted).norm() / wanted.norm()) < 1e-4


def test_layers_are_extractors_apart(inception_file):
    made = [load_extractor(weights=inception_file, dims=dims) for dims in (None, 64, 192, 2048)]
    assert made[0].identity == made[3].identity and made[0].layer == 2048
    assert len({one.identity for one in made}) == 3


@pytest.mark.parametrize("dims, words", [(100, "give one of 64, 192, 768, 2048"), (64.0, "whole")])
def test_a_layer_that_there_is_not(inception_file, dims, words):
    with pytest.raises(InputError, match=rf"dims: got {dims}; .*{words}"):
        load_extractor(weights=inception_file, dims=dims)
    with pytest.raises(InputError, match="dims: got 64, and the extractor digits has features of"):
        load_extractor("digits", dims=64)


def test_inception_of_no_images(inception_file):
    features, logits = load_extractor(weights=inception_file)(images(0))
    assert features.shape == (0, 2048) and logits is not None and logits.shape == (0, 1008)


def test_the_protocol_is_used(inception_file):
    found = {
        name: load_extractor(weights=inception_file, protocol=name)(images(1))[0]
        for name in PROTOCOLS
    }
    assert not torch.allclose(found["pytorch-fid"], found["torch-fidelity"], rtol=1e-2)
    assert not torch.allclose(found["pytorch-fid"], found["clean"], rtol=1e-2)


def test_bf16_is_close_and_not_the_same(inception_file):
    full = load_extractor(weights=inception_file)(images(2))[0]
    half = load_extractor(weights=inception_file, precision="bf16")(images(2))[0]
    assert half.dtype == torch.float32
    assert 1e-4 < float((half - full).norm() / full.norm()) < 0.1


def test_identity_is_that_of_the_weights(inception_file, tmp_path):
    wanted = load_extractor(weights=inception_file).identity
    assert wanted == identity("inception", random_state_dict(0)) and len(wanted) == 64
    state = random_state_dict(0)
    state["Conv2d_1a_3x3.bn.num_batches_tracked"] = torch.tensor(5)
    state["Mixed_5b.branch5x5_2.conv.weight"] = state["Mixed_5b.branch5x5_2.conv.weight"].to(
        memory_format=torch.channels_last
    )
    again = tmp_path / "again.pth"
    torch.save(dict(reversed(state.items())), again)
    assert load_extractor(weights=again, protocol="clean", precision="bf16").identity == wanted
    state["fc.bias"][7] += 1e-3
    torch.save(state, again)
    assert load_extractor(weights=again).identity != wanted


def test_identity_sees_names_shapes_dtypes_and_values():
    base = identity("n", {"a": torch.arange(6.0), "b": torch.zeros(2)})
    assert base == identity("n", {"b": torch.zeros(2), "a": torch.arange(12.0)[::2] / 2})
    others = [
        identity("m", {"a": torch.arange(6.0), "b": torch.zeros(2)}),
        identity("n", {"c": torch.arange(6.0), "b": torch.zeros(2)}),
        identity("n", {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(2)}),
        identity("n", {"a": torch.arange(6.0), "b": torch.zeros(2, dtype=torch.int32)}),
        identity("n", {"a": torch.arange(6.0), "b": -torch.zeros(2)}),
        identity("n", {"a": torch.arange(6.0)}),
    ]
    assert base not in others and len(set(others)) == len(others)
    identity("n", {"a": torch.zeros(()), "b": torch.zeros(0, 3), "c": torch.ones(2).bfloat16()})
    # Once and for all: stored statistics carry it.
    assert identity("n", {"a": torch.tensor([1.0, 2.0])}) == (
        "13d6e303309eb830e03bebd8e8064e454788dfc39dc86b9ce561164430cc44f8"
    )


def test_digits():
    extractor = load_extractor("digits")
    assert (extractor.name, extractor.dim, extractor.classes) == ("digits", 64, 10)
    assert extractor.size == (8, 8)
    data = pytest.importorskip("sklearn.datasets").load_digits()
    grey = (torch.from_numpy(data.images[:200]) * 255 / 16).round().to(torch.uint8)
    features, logits = extractor(grey[..., None].expand(-1, -1, -1, 3))
    assert features.shape == (200, 64) and logits is not None
    right = logits.argmax(1) == torch.from_numpy(data.target[:200])
    assert right.float().mean() > 0.97
    larger = grey.repeat_interleave(3, 1).repeat_interleave(3, 2)[..., None].expand(-1, -1, -1, 3)
    assert extractor(larger)[0].shape == (200, 64)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        assert load_extractor("digits").identity == extractor.identity  # trained anew: the same
    finally:
        torch.set_num_threads(threads)


def test_a_module_of_the_users(mine):
    before = list(sys.path)
    extractor = load_extractor(f"{mine}:Means")
    assert sys.path == before
    assert extractor.name == f"{mine}:Means"
    assert (extractor.dim, extractor.classes, extractor.size) == (3, 2, (6, 6))
    features, logits = extractor(images())
    x = preprocess(images(), PROTOCOLS["pytorch-fid"], size=6)
    torch.testing.assert_close(features, x.mean((2, 3)) * torch.tensor([1.0, 2, 3]))
    torch.testing.assert_close(logits, features[:, :2])
    assert not features.requires_grad
    features, logits = extractor(images(0))
    assert features.shape == (0, 3) and logits is not None and logits.shape == (0, 2)


def test_features_alone_another_size_and_dtype(mine):
    extractor = load_extractor(f"{mine}:Alone")
    assert extractor.classes is None and extractor.size == (4, 7)
    features, logits = extractor(images())
    assert features.dtype == torch.float32 and logits is None
    assert load_extractor(f"{mine}:Default").dim == 299


def test_bf16_of_a_module_is_autocast(mine):
    extractor = load_extractor(f"{mine}:Means", precision="bf16")
    assert extractor(images())[0].dtype == torch.float32


def test_compiled_modules(mine, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    plain, compiled = (load_extractor(f"{mine}:Means", compile=c) for c in (False, True))
    assert plain.identity == compiled.identity
    torch.testing.assert_close(compiled(images())[0], plain(images())[0])


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (
            "nonsense",
            [
                "'nonsense'; give one of inception, digits, dinov2, clip, swav, "
                "timm:NAME, hf:REPOSITORY, torchvision:NAME, module:factory",
            ],
        ),
        (":factory", ["module:factory"]),
        ("module:", ["module:factory"]),
        ("timm:", ["'timm:', which names no model; give timm:NAME"]),
        ("hf", ["'hf', which names no model; give hf:NAME"]),
        ("not_there_at_all:factory", ["no module not_there_at_all"]),
        ("not_there.at.all:factory", ["no module not_there;"]),
        ("os.not_there:factory", ["no module os.not_there"]),
        ("{}:Nothing", ["has no Nothing"]),
        ("{}:table", ["table is a dict", "a function without arguments"]),
        ("{}_broken:f", ["fails: ValueError: bad"]),
        ("{}_needs:f", ["needs not_installed_here"]),
        ("{}:raises", ["raises() failed: RuntimeError: no disk"]),
        ("{}:needs", ["failed: TypeError", "argument"]),
        ("{}:number", ["gave a int", "torch.nn.Module"]),
        ("{}:Image", ["features of shape (2, 3, 6, 6) for 2 images"]),
        ("{}:Flat", ["features of shape (2,) for 2 images"]),
        ("{}:Once", ["features of shape (1, 3) for 2 images"]),
        ("{}:Empty", ["features of shape (2, 0) for 2 images"]),
        ("{}:Three", ["a tuple of Tensor, Tensor, Tensor", "(features, logits)"]),
        ("{}:Text", ["got a str", "(features, logits)"]),
        ("{}:Whole", ["int64", "floats"]),
        ("{}:NaN", ["features that are NaN or inf"]),
        ("{}:NaNLogits", ["logits that are NaN or inf"]),
        ("{}:Softmax", ["logits that are probabilities", "before the softmax"]),
        ("{}:Fails", ["fails on float32 (2, 3, 6, 6): RuntimeError"]),
        ("{}:BadSize", ["got the input_size 'big'"]),
    ],
)
def test_mistakes_in_a_module(mine, path, parts):
    with pytest.raises(InputError) as caught:
        load_extractor(path.format(mine))
    message = str(caught.value)
    assert "\n" not in message and message.startswith("extractor")
    for part in parts:
        assert part in message


def test_an_output_that_changes_later(mine):
    extractor = load_extractor(f"{mine}:Changing")
    assert extractor(images(2))[0].shape == (2, 3)
    with pytest.raises(InputError, match=r"shape \(3, 2\) for 3 images; give \(3, 3\)"):
        extractor(images(3))


def test_mistakes_in_the_other_arguments(mine, tmp_path):
    with pytest.raises(InputError, match="protocol: got 'fid'"):
        load_extractor(protocol="fid")
    with pytest.raises(InputError, match="precision: got 'fp16'"):
        load_extractor(precision="fp16")
    for name in ("inception", f"{mine}:Means"):
        with pytest.raises(InputError, match="got 'tf32', .* CUDA devices only, for device cpu"):
            load_extractor(name, precision="tf32")
        with pytest.raises(InputError, match="device: got 'gpu'"):
            load_extractor(name, device="gpu")
    with pytest.raises(
        InputError, match="weights: got a file, and the extractor digits has its own"
    ):
        load_extractor("digits", weights=tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load_extractor(weights=tmp_path / "none.pth")


def test_every_built_in_extractor_is_met_by_a_test():
    here = {"inception": test_inception, "digits": test_digits}
    assert {*here, *test_libraries.PRESETS} == EXTRACTORS.keys()
    assert set(LIBRARIES) == test_libraries.MODELS.keys()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none():
    with pytest.raises(InputError, match="device: got 'cuda', which can't be used"):
        load_extractor(device="cuda")


def test_tf32_is_for_cuda():
    check_precision("tf32", torch.device("cuda:0"))
    with pytest.raises(InputError, match="precision: got 'tf32'"):
        check_precision("tf32", torch.device("cpu"))


NEWER = hasattr(torch.backends.cudnn, "conv")  # torch's switches by kind of operation


def stated() -> list[str]:
    if not NEWER:
        return []
    backends = torch.backends
    settings = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul)
    return [setting.fp32_precision for setting in (*settings, backends.mkldnn.conv)]


class Spy(nn.Module):
    """Writes down what float32 products mean while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[str]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(stated())
        if len(x) > 3:
            raise RuntimeError("too many")
        return x.mean((2, 3))


def of(network: nn.Module, **kwargs) -> Extractor:
    return Extractor(
        network, name="spy", identity="", dim=3, classes=None,
        protocol=PROTOCOLS["pytorch-fid"], size=4, **kwargs,
    )  # fmt: skip


@pytest.mark.skipif(not NEWER, reason="torch before 2.9 has one switch for all convolutions")
def test_fp32_means_float32_whatever_the_program_has_set():
    before = stated()
    try:
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.allow_tf32 = True
        chosen = stated()
        spy = Spy()
        of(spy)(images())
        assert spy.seen == [["ieee"] * 4]
        assert stated() == chosen != ["ieee"] * 4
        with pytest.raises(RuntimeError, match="too many"):
            of(spy)(images(4))
        assert stated() == chosen
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
        with float32_products("tf32"):
            assert stated() == ["tf32", "tf32", "ieee", "ieee"]
        assert stated() == chosen
    finally:
        torch.set_float32_matmul_precision("highest")
        put = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
        put += (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv)
        for setting, value in zip(put, before, strict=True):
            setting.fp32_precision = value
    assert stated() == before


def switches() -> dict[str, object]:
    """What each of torch's switches for float32 says, where it does not raise."""
    backends, said = torch.backends, {}
    for name, read in {
        "cudnn.conv": lambda: backends.cudnn.conv.fp32_precision,
        "cudnn.rnn": lambda: backends.cudnn.rnn.fp32_precision,
        "cuda.matmul": lambda: backends.cuda.matmul.fp32_precision,
        "mkldnn.conv": lambda: backends.mkldnn.conv.fp32_precision,
        "mkldnn.matmul": lambda: backends.mkldnn.matmul.fp32_precision,
        "cudnn.allow_tf32": lambda: backends.cudnn.allow_tf32,
        "cuda.matmul.allow_tf32": lambda: backends.cuda.matmul.allow_tf32,
        "float32_matmul_precision": torch.get_float32_matmul_precision,
    }.items():
        try:
            said[name] = read()
        except AttributeError:  # torch before 2.9 has the last three
            assert not NEWER
        except RuntimeError:
            said[name] = "raises"
    return said


CHOICES = {
    "default": "pass",
    "high": "torch.set_float32_matmul_precision('high')",
    "medium": "torch.set_float32_matmul_precision('medium')",
    "no TF32 in cuDNN": "torch.backends.cudnn.allow_tf32 = False",
    "TF32 in products": "torch.backends.cuda.matmul.allow_tf32 = True",
    "convolutions alone": "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "products alone": "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
}


EVERY_SWITCH = """
import multiprocessing, sys
import torch
from test_extractors import CHOICES, NEWER, float32_products, switches

def check(choice):
    exec(choice)
    before = switches()
    for precision in ("fp32", "tf32", "bf16"):
        tf32 = precision == "tf32"
        with float32_products(precision):
            inside = switches()
            assert inside["cudnn.allow_tf32"] is inside["cuda.matmul.allow_tf32"] is tf32
            assert inside["float32_matmul_precision"] == ("high" if tf32 else "highest")
            assert "raises" not in inside.values()
            with torch.backends.cudnn.flags(enabled=True, benchmark=False):
                pass
        assert switches() == before, (before, switches())

for name, choice in CHOICES.items():
    if NEWER or "fp32_" not in choice:
        process = multiprocessing.get_context("fork").Process(target=check, args=(choice,))
        process.start()
        process.join()
        print(name, process.exitcode)
"""


def test_every_switch_can_be_read_inside():
    """Each choice in a process of its own: torch has no way back from some of them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", EVERY_SWITCH]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    expected = [f"{name} 0" for name in CHOICES if NEWER or "fp32_" not in CHOICES[name]]
    assert run.stdout.splitlines() == expected and expected, run.stderr


def test_another_preprocess_can_be_given():
    asked = []

    def ours(images, protocol, *, size, device, dtype):
        asked.append((protocol.name, size, device, dtype))
        return images.movedim(-1, 1).to(dtype)

    features, _ = of(Spy(), preprocess=ours)(images())
    torch.testing.assert_close(features, images().float().mean((1, 2)))
    assert asked == [("pytorch-fid", 4, torch.device("cpu"), torch.float32)]


def test_nothing_heavy_is_imported_before_it_is_used(tmp_path):
    code = (
        "import sys, ganfast.metrics.extractors as e\n"
        "print([m for m in ('ganfast.metrics.inception.fast', 'ganfast.train', 'PIL', 'sklearn',"
        " 'safetensors') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert run.stdout.strip() == "[]", run.stderr
