"""The Inception network alone, on pictures that are prepared; and clean-fid's way to prepare
them."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.fid import pipeline
from ganfast.bench.case import GANFAST, Case, ErrorOf, Provider, largest, multiplying
from ganfast.bench.evaluation import SIDE
from ganfast.metrics import load_extractor
from ganfast.metrics.inception.network import build_network
from testing.inception_weights import random_state_dict, save_random_weights

FLOPS = 2 * 5.7e9
"""Of the network for one image of 299 x 299: 5.7e9 multiplications with an addition."""


def network(precision: str, batch: int) -> Case:
    """The features of ``batch`` images."""

    def inputs(device: Any, seed: int) -> tuple[Tensor, tempfile.TemporaryDirectory[str]]:
        folder = tempfile.TemporaryDirectory(prefix="ganfast-bench-")
        save_random_weights(Path(folder.name) / "weights.pth")
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(batch, 3, SIDE, SIDE, generator=generator) * 2 - 1, folder

    def peer(images: Tensor, folder: Any) -> Any:
        from testing.torchvision_stub import import_torchvision

        import_torchvision()
        from pytorch_fid.inception import InceptionV3

        with pipeline.as_published(Path(folder.name) / "weights.pth"):
            theirs = InceptionV3([3], resize_input=False, normalize_input=False).eval()

        @torch.inference_mode()
        def run() -> Tensor:
            return theirs(images)[0].flatten(1)

        return run

    def folded(images: Tensor, folder: Any) -> Any:
        weights = Path(folder.name) / "weights.pth"
        extractor = load_extractor(weights=weights, precision=precision)
        prepared = images.contiguous(memory_format=torch.channels_last)
        return lambda: extractor.extract(prepared)[0]

    def error_of(images: Tensor, folder: Any) -> ErrorOf:
        with torch.inference_mode():
            exact = build_network(random_state_dict(0)).double()(images[:2].double())[0]
        return lambda _, found: largest(found[:2], exact)

    return Case(
        name=f"network-{precision}-{batch}",
        section="The Inception network",
        label=f"{precision}, batch {batch}",
        inputs=inputs,
        # torchvision may not load beside a torch that is not its own.
        providers={
            "pytorch-fid's network": Provider(peer, optional=True),
            GANFAST: Provider(folded),
        },
        error_of=error_of,
        limit=partial(multiplying, 2048, torch.float32, batch * FLOPS),
        seconds=20.0,
        rounds=3,
    )


def pillow(images: Tensor) -> Tensor:
    """clean-fid's way: each channel is a float image that Pillow resizes."""
    from PIL import Image

    def resized(channel: Any) -> Any:
        image = Image.fromarray(channel.astype(np.float32), mode=None)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).clip(0, 255)

    pictures = [
        np.stack([resized(image[:, :, channel]) for channel in range(3)], axis=2)
        for image in images.numpy()
    ]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # channels_last already
    return (x - 128) / 128
