"""Networks of timm, transformers and torchvision, small and random: features equal to what the
library's own pipeline gives. Each is skipped where its library is not installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from image_samples import crop
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics import evaluate, load_extractor
from ganfast.metrics.extractors import libraries
from testing.torchvision_stub import import_torchvision

PICTURES = [crop(0, 40, 60), crop(1, 90, 50), crop(2, 30, 30)]
MODELS = {"timm": "timm", "hf": "transformers", "torchvision": "torchvision"}
PRESETS = ("dinov2", "clip", "swav")


def imported(name: str) -> Any:
    try:
        if name != "transformers":
            import_torchvision()
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{name} cannot be imported here: {error}")


def pil() -> list[Any]:
    return [pytest.importorskip("PIL.Image").fromarray(picture) for picture in PICTURES]


def features(name: str) -> tuple[Any, Tensor]:
    extractor = load_extractor(name)
    found, logits = extractor([torch.from_numpy(picture) for picture in PICTURES])
    assert logits is None and extractor.classes is None and extractor.name == name
    assert found.shape == (3, extractor.dim)
    return extractor, found


@torch.inference_mode()
def equal(found: Tensor, network: Callable[[Tensor], Tensor], inputs: list[Tensor]) -> bool:
    wanted = network(torch.stack(inputs))
    return float((found - wanted).norm() / wanted.norm()) < 1e-5 and float(wanted.norm()) > 0


def test_timm(monkeypatch):
    timm = imported("timm")
    network = timm.create_model("resnet10t", num_classes=0).eval()
    monkeypatch.setattr(timm, "create_model", lambda name, **options: network)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    extractor, found = features("timm:resnet10t.c3_in1k")
    assert equal(found, network, [transform(image) for image in pil()])
    assert "CenterCrop(size=(176, 176))" in extractor.protocol.name
    assert "\n" not in extractor.protocol.name and "mean=" in extractor.protocol.name


def test_torchvision(monkeypatch, tmp_path):
    imported("torchvision")
    from torchvision import models

    weights = models.MobileNet_V3_Small_Weights.DEFAULT
    whole = models.mobilenet_v3_small().eval()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(whole.state_dict(), folder / weights.url.rpartition("/")[2])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    extractor, found = features("torchvision:mobilenet_v3_small")
    transform = weights.transforms()

    def before_the_last(batch: Tensor) -> Tensor:
        return whole.classifier[:-1](whole.avgpool(whole.features(batch)).flatten(1))

    assert equal(found, before_the_last, [transform(image) for image in pil()])
    assert extractor.dim == 1024 and "resize_size=[256]" in extractor.protocol.name
    monkeypatch.setattr(models, "get_model", lambda name, weights: models.squeezenet1_1())
    with pytest.raises(InputError, match="squeezenet1_1 does not end in a linear classifier"):
        load_extractor("torchvision:squeezenet1_1")


def small_dinov2(folder: Any, transformers: Any) -> Any:
    config = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=56
    )
    network = transformers.Dinov2Model(config).eval()
    network.save_pretrained(folder)
    size = {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}}
    transformers.BitImageProcessor(**size).save_pretrained(folder)
    return network


def small_clip(folder: Any, transformers: Any) -> Any:
    config = transformers.CLIPVisionConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        patch_size=56, image_size=336, projection_dim=20,
    )  # fmt: skip
    network = transformers.CLIPVisionModelWithProjection(config).eval()
    network.save_pretrained(folder)
    transformers.CLIPImageProcessor(size={"shortest_edge": 336}, crop_size=336).save_pretrained(
        folder
    )
    return network


def test_transformers(tmp_path):
    transformers = imported("transformers")
    network = small_dinov2(tmp_path, transformers)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    extractor, found = features(f"hf:{tmp_path}")
    inputs = [processor(images=image, return_tensors="pt")["pixel_values"][0] for image in pil()]
    assert equal(found, lambda batch: network(pixel_values=batch).pooler_output, inputs)
    assert extractor.size == (56, 56) and "shortest_edge" in extractor.protocol.name
    assert "image_mean" in extractor.protocol.name


def test_a_model_without_a_pooled_output(tmp_path):
    transformers = imported("transformers")
    config = transformers.SegformerConfig(
        num_encoder_blocks=1, depths=[1], hidden_sizes=[8], num_attention_heads=[1],
        patch_sizes=[7], strides=[4], sr_ratios=[1], mlp_ratios=[2],
    )  # fmt: skip
    transformers.SegformerModel(config).save_pretrained(tmp_path)
    transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(
        tmp_path
    )
    with pytest.raises(InputError, match=r"^extractor hf:\S+: SegformerModel has no pooled output"):
        load_extractor(f"hf:{tmp_path}")


def test_a_pooling_layer_without_weights_is_not_made_up(tmp_path):
    """transformers draws what a file lacks at random, and says so in a warning."""
    transformers = imported("transformers")
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ViTConfig(**shape, image_size=32, patch_size=16)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(
        tmp_path
    )
    with pytest.raises(InputError, match=r"has no weights for pooler\.\S+, pooler\.\S+; give"):
        load_extractor(f"hf:{tmp_path}")


def test_dinov2_is_resized_by_pillow_to_a_square(tmp_path, monkeypatch):
    """As dgm-eval does it, whose features are the class token after the last norm."""
    transformers = imported("transformers")
    network = small_dinov2(tmp_path, transformers)
    monkeypatch.setattr(libraries, "DINOV2", str(tmp_path))
    extractor, found = features("dinov2")
    mean, deviation = (np.array(x) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    inputs = [
        torch.from_numpy((np.array(image.resize((224, 224), 3)) / 255 - mean) / deviation)
        .permute(2, 0, 1)
        .float()
        for image in pil()
    ]

    def class_token(batch: Tensor) -> Tensor:
        return network(pixel_values=batch).last_hidden_state[:, 0]

    assert equal(found, class_token, inputs) and extractor.size == (224, 224)


def test_clip_is_resized_by_torch_to_a_square(tmp_path, monkeypatch):
    transformers = imported("transformers")
    network = small_clip(tmp_path, transformers)
    monkeypatch.setattr(libraries, "CLIP_LARGE", str(tmp_path))
    extractor, found = features("clip")
    processor = transformers.CLIPImageProcessor.from_pretrained(tmp_path)
    inputs = []
    for picture in PICTURES:
        whole = torch.from_numpy(picture.transpose(2, 0, 1)[None] / np.float32(255)).float()
        resized = torch.nn.functional.interpolate(whole, size=(336, 336), mode="bicubic")[0]
        off = {"do_resize": False, "do_center_crop": False, "do_rescale": False}
        given = processor(images=resized, return_tensors="pt", **off)
        inputs.append(given["pixel_values"][0])
    assert equal(found, lambda batch: network(pixel_values=batch).image_embeds, inputs)
    assert extractor.dim == 20
    given = {"extractor": "clip", "device": "cpu", "workers": 0}
    images = np.stack([crop(i) for i in range(8)])
    result = evaluate(images[:4], images[4:], cmmd=True, **given)
    assert result["cmmd"] is not None and result["cmmd_error"] > 0
    assert result["protocol"].startswith("336x336 by bicubic") and result["extractor"] == "clip"


def test_swav_is_the_pooled_layer_of_a_resnet(tmp_path, monkeypatch):
    """In the layout of the published file: as DistributedDataParallel names it, with other heads
    and no classifier."""
    imported("torchvision")
    from torchvision import models, transforms

    small = models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1]).eval()
    monkeypatch.setattr(
        models, "resnet50", lambda weights: models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1])
    )
    state = {f"module.{key}": value for key, value in small.state_dict().items() if "fc" not in key}
    state["module.prototypes.weight"] = torch.ones(3, 4)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    cached = folder / "swav_800ep_pretrain.pth.tar"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(libraries, "SWAV", (tmp_path / "none" / cached.name).as_uri())
    words = "^extractor swav: no weights .*; get https://dl.fbaipublicfiles.com/.* name the file"
    with pytest.raises(InputError, match=words):
        load_extractor("swav")
    torch.save(state, cached)
    extractor, found = features("swav")
    small.fc = torch.nn.Identity()
    steps = [transforms.Resize(224), transforms.CenterCrop(224), transforms.ToTensor()]
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    transform = transforms.Compose([*steps, transforms.Normalize(mean, deviation)])
    assert equal(found, small, [transform(image) for image in pil()])
    assert extractor.dim == 2048 and extractor.protocol.name.startswith("shorter side to 224")
    file = cached.rename(tmp_path / "mine.pth")
    pictures = [torch.from_numpy(picture) for picture in PICTURES]
    assert torch.equal(load_extractor("swav", weights=file)(pictures)[0], found)
    torch.save({"layer": torch.ones(1)}, file)
    with pytest.raises(InputError, match="extractor swav: the weights are not those of a ResNet"):
        load_extractor("swav", weights=file)


@pytest.mark.parametrize(
    "source, package",
    [
        ("timm:x", "timm"),
        ("hf:x/y", "transformers"),
        ("torchvision:x", "torchvision"),
        ("dinov2", "transformers"),
        ("clip", "transformers"),
        ("swav", "torchvision"),
    ],
)
def test_a_library_that_is_not_installed(source, package, monkeypatch):
    for name in MODELS.values():
        monkeypatch.setitem(sys.modules, name, None)
    words = f"^extractor {source}: it needs {package}, .*; pip install {package}$"
    with pytest.raises(InputError, match=words):
        load_extractor(source)


def test_weights_that_are_not_to_be_had(tmp_path):
    """An unknown model, which no cache has; the library says so in many lines or few."""
    imported("transformers")
    with pytest.raises(InputError, match="transformers can't load .*in its cache") as raised:
        load_extractor(f"hf:{tmp_path / 'none'}")
    assert len(str(raised.value).splitlines()) == 1


def test_what_a_library_decides_is_not_asked():
    for more, words in (
        ({"protocol": "clean"}, "protocol: got 'clean', and the extractor clip has its own"),
        ({"weights": "x"}, "weights: got a file, and the extractor clip has its own"),
        ({"dims": 64}, "dims: got 64, and the extractor clip has features of its own"),
    ):
        with pytest.raises(InputError, match=words):
            load_extractor("clip", **more)
