"""Networks of timm, transformers and torchvision, each with its own resize, crop and scaling.

The libraries' own code prepares the images, one by one as Pillow images: what a network was trained
with has many details, and a distance compares only where all of them are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganfast.errors import InputError
from ganfast.metrics.extractors.custom import as_run, described, tried
from ganfast.metrics.extractors.extractor import Extractor, identity
from ganfast.metrics.protocols import Protocol

Transform = Callable[[Any], Tensor]
"""A Pillow image, RGB -> (3, height, width)."""


class Loaded(NamedTuple):
    """A network that gives features (n, d), how an image becomes its input, and that in words."""

    network: nn.Module
    transform: Transform
    recipe: str


def load_library(
    source: str,
    *,
    name: str,
    precision: str,
    device: torch.device,
    compile: bool,
    weights: str | None = None,
) -> Extractor:
    """The extractor ``source``, "timm:NAME", "hf:REPO" or "torchvision:NAME", or a preset's name;
    ``weights``: the file of "swav".

    Raises:
        ValueError: (an InputError of one line) the library is not installed, knows no such model,
            or has no weights for it; the model gives no features (n, d).
    """
    loaded = _loaded(source, name, weights)
    network = loaded.network.to(device).eval().requires_grad_(False)
    _, *size = loaded.transform(_grey()).shape
    height, width = size
    run = as_run(network, precision, device, compile)
    dim, _ = tried(run, (height, width), precision, device, name)

    def prepare(images: Tensor | Sequence[Tensor], *_: Any, **__: Any) -> Tensor:
        from PIL import Image

        inputs = [loaded.transform(Image.fromarray(image.cpu().numpy())) for image in images]
        batch = torch.stack(inputs) if inputs else torch.empty(0, 3, height, width)
        return batch.to(device, torch.float32, memory_format=torch.channels_last)

    return Extractor(
        run,
        name=name,
        identity=identity(source, loaded.network.state_dict()),
        dim=dim,
        classes=None,
        protocol=Protocol(loaded.recipe, "library", 1.0, 0.0, clip=False),
        precision=precision,
        device=device,
        size=(height, width),
        preprocess=prepare,
    )


def _loaded(source: str, name: str, weights: str | None) -> Loaded:
    library, _, model = source.partition(":")
    package = _PACKAGES.get(library, library)
    try:
        return _LOADERS[library](model) if weights is None else _swav(weights)
    except InputError as error:
        raise InputError(f"extractor {name}: {error}") from None
    except ModuleNotFoundError as error:
        missing = error.name or package
        raise InputError(
            f"extractor {name}: it needs {missing}, which is not installed; pip install {package}"
        ) from None
    except Exception as error:  # whatever a library, its cache and the network have to say
        raise InputError(
            f"extractor {name}: {package} can't load {model!r} ({described(error)[:200]}); see to "
            "the name, or, without a connection, to the weights in its cache"
        ) from error


def _timm(model: str) -> Loaded:
    import timm

    network = timm.create_model(model, pretrained=True, num_classes=0)
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**config)
    return Loaded(network, transform, _in_words(transform))


def _torchvision(model: str) -> Loaded:
    from torchvision import models

    weights = models.get_model_weights(model).DEFAULT
    network = models.get_model(model, weights=weights)
    linear = [at for at, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"{model} does not end in a linear classifier; give another model")
    owner, _, last = linear[-1].rpartition(".")
    setattr(network.get_submodule(owner), last, nn.Identity())
    transform = weights.transforms()
    return Loaded(network, transform, f"{weights}: {_in_words(transform)}")


class _Pooled(nn.Module):
    """The one vector that a model of transformers makes of an image."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        # Of a model of images and texts the side that sees images.
        see = getattr(self.model, "get_image_features", self.model)
        output = see(pixel_values=pixels)
        if isinstance(output, Tensor):
            return output
        for field in ("image_embeds", "pooler_output"):
            found = getattr(output, field, None)
            if isinstance(found, Tensor):
                return found.flatten(1)
        raise InputError(f"{type(self.model).__name__} has no pooled output; give another model")


def _hf(repository: str) -> Loaded:
    import transformers

    kind = transformers.AutoConfig.from_pretrained(repository).model_type
    clip = kind in ("clip", "clip_vision_model")
    family = transformers.CLIPVisionModelWithProjection if clip else transformers.AutoModel
    processor = transformers.AutoImageProcessor.from_pretrained(repository)

    def transform(image: Any) -> Tensor:
        prepared: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return prepared

    asked = processor.to_dict()
    steps = {
        "do_resize": ("size", "resample"),
        "do_center_crop": ("crop_size",),
        "do_rescale": ("rescale_factor",),
        "do_normalize": ("image_mean", "image_std"),
    }
    words = [f"{key}={asked.get(key)}" for do, keys in steps.items() if asked.get(do)
             for key in keys]  # fmt: skip
    network, loaded = family.from_pretrained(repository, output_loading_info=True)
    if loaded["missing_keys"]:  # which are then random, a pooling layer for one
        missing = ", ".join(sorted(loaded["missing_keys"])[:3])
        raise InputError(f"{repository} has no weights for {missing}; give another model")
    return Loaded(_Pooled(network), transform, ", ".join(words))


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def _dinov2(_: str) -> Loaded:
    """FD-DINOv2 (Stein et al., 2023, arXiv:2306.04675): to 224 x 224 by Pillow's bicubic."""
    return Loaded(
        _hf(DINOV2).network,
        lambda image: _scaled(_to_tensor(image.resize((224, 224), 3)), *IMAGENET),  # 3: bicubic
        "224x224 by Pillow's bicubic, ImageNet's mean and deviation",
    )


def _clip(_: str) -> Loaded:
    """CMMD (Jayasumana et al., 2024, arXiv:2401.09603): to 336 x 336 by torch's bicubic, which does
    not look farther where it shrinks."""

    def transform(image: Any) -> Tensor:
        whole = _to_tensor(image)[None]
        resized = nn.functional.interpolate(whole, size=(336, 336), mode="bicubic")
        return _scaled(resized[0], *CLIP)

    recipe = "336x336 by bicubic interpolation without antialiasing, CLIP's mean and deviation"
    return Loaded(_hf(CLIP_LARGE).network, transform, recipe)


def _swav(weights: str | None) -> Loaded:
    """SwAV's ResNet-50 (Caron et al., 2020, arXiv:2006.09882) as dgm-eval has it (Stein et al.,
    2023): its 2,048 pooled features of the shorter side at 224, by Pillow's bilinear; of what is
    not square the middle."""
    from torchvision import models, transforms

    network = models.resnet50(weights=None)
    network.fc = nn.Identity()
    found = _swav_weights(weights)
    state = {str(key).removeprefix("module."): value for key, value in found.items()}
    wanted = network.state_dict()
    try:
        network.load_state_dict({key: value for key, value in state.items() if key in wanted})
    except RuntimeError:
        raise InputError("the weights are not those of a ResNet-50; " + SWAV_HELP) from None
    transform = transforms.Compose(
        [
            transforms.Resize(224),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(*IMAGENET),
        ]
    )
    recipe = "shorter side to 224 by Pillow's bilinear, middle, ImageNet's mean and deviation"
    return Loaded(network, transform, recipe)


def _swav_weights(path: str | None) -> dict[str, Tensor]:
    try:
        if path is not None:
            found = torch.load(path, map_location="cpu", weights_only=True)
        else:
            found = torch.hub.load_state_dict_from_url(
                SWAV, map_location="cpu", progress=False, weights_only=True
            )
    except Exception as error:  # no connection, no such file, none that torch reads
        raise InputError(f"no weights ({described(error)[:200]}); {SWAV_HELP}") from None
    inner = found.get("state_dict", found) if isinstance(found, dict) else {}
    return dict(inner)


SWAV = "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar"
SWAV_HELP = (
    f"get {SWAV} and put it in torch.hub's folder (hub/checkpoints), or name the file (weights)"
)
DINOV2 = "facebook/dinov2-large"
CLIP_LARGE = "openai/clip-vit-large-patch14-336"

_LOADERS: dict[str, Callable[[str], Loaded]] = {
    "timm": _timm,
    "hf": _hf,
    "torchvision": _torchvision,
    "dinov2": _dinov2,
    "clip": _clip,
    "swav": lambda _: _swav(None),
}
_PACKAGES = {"hf": "transformers", "dinov2": "transformers", "clip": "transformers",
             "swav": "torchvision"}  # fmt: skip


def _to_tensor(image: Any) -> Tensor:
    import numpy as np

    return torch.from_numpy(np.array(image)).movedim(2, 0).float() / 255


def _scaled(pixels: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]


def _grey() -> Any:
    from PIL import Image

    return Image.new("RGB", (64, 48), (128, 128, 128))


def _in_words(transform: Any) -> str:
    """What the library says of its transform, on one line."""
    return " ".join(str(transform).split())
