"""What the real projects' own code feeds their networks, where they are installed, and ours."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from ganfast.metrics.preprocessing import preprocess
from testing.torchvision_stub import import_torchvision

SIZES = [(1, 1), (7, 5), (32, 32), (28, 64), (298, 300), (299, 299), (299, 40), (512, 350)]


@pytest.fixture
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def peer(module: str) -> Any:
    try:
        import_torchvision()
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{module} cannot be imported here: {error}")


def images_of(size: tuple[int, int]) -> torch.Tensor:
    return torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)


class Seen(Exception):
    """Carries what the first layer is given."""


class First(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise Seen(x)


def seen_by_the_network(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with pytest.raises(Seen) as caught, torch.no_grad():
        network(x)
    return caught.value.args[0]


def without_weights(kind: type, **attributes: Any) -> torch.nn.Module:
    """A network of the project's class that has only what its forward reads first."""
    network = kind.__new__(kind)
    torch.nn.Module.__init__(network)
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


def compare(images: torch.Tensor, protocol: str, theirs: torch.Tensor) -> None:
    assert theirs.shape[1:] == (3, 299, 299)
    torch.testing.assert_close(preprocess(images, protocol), theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pytorch_fid(quiet: None, size: tuple[int, int]) -> None:
    network = without_weights(
        peer("pytorch_fid.inception").InceptionV3,
        resize_input=True, normalize_input=True, blocks=torch.nn.ModuleList([First()]),
    )  # fmt: skip
    images = images_of(size)
    compare(images, "pytorch-fid", seen_by_the_network(network, images.movedim(3, 1) / 255))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_torch_fidelity(quiet: None, size: tuple[int, int]) -> None:
    network = without_weights(
        peer("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3,
        features_list=["2048"], feature_extractor_internal_dtype=torch.float32,
        Conv2d_1a_3x3=First(),
    )  # fmt: skip
    images = images_of(size)
    compare(images, "torch-fidelity", seen_by_the_network(network, images.movedim(3, 1)))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_clean(quiet: None, size: tuple[int, int]) -> None:
    resize = peer("cleanfid.resize").build_resizer("clean")
    network = without_weights(
        peer("cleanfid.inception_torchscript").InceptionV3W, resize_inside=False, layers=First()
    )
    images = images_of(size)
    images[:, ::2] = images[:, ::2] // 200 * 255
    resized = np.stack([resize(image) for image in images.numpy()])
    theirs = seen_by_the_network(network, torch.from_numpy(resized).movedim(3, 1))
    compare(images, "clean", theirs)
