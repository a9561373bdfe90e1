"""The Inception network and whole evaluations on a GPU."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.fid.network import FLOPS
from ganfast.bench.case import (
    COMPILED,
    GANFAST,
    Case,
    ErrorOf,
    Limit,
    Provider,
    Step,
    largest,
    multiplying,
)
from ganfast.bench.evaluation import SIDE
from ganfast.metrics import evaluate, load_extractor
from ganfast.metrics.extractors.precision import float32_products
from ganfast.metrics.inception.network import build_network
from testing.inception_weights import random_state_dict, save_random_weights

NCHW, CHANNELS_LAST, OWN = "torch, NCHW", "torch, channels_last", "ganfast, without its graph"
TOLERANCES = {"fp32": 1e-3, "tf32": 0.05, "bf16": 0.25}
TENSORS, JPEGS = "uint8 tensors, 32 x 32", "JPEG files, 256 x 256"


@cache
def weights() -> str:
    """A file of random weights, made once; gone when the process ends."""
    folder = _kept_folder()
    save_random_weights(folder / "weights.pth")
    return str(folder / "weights.pth")


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _kept_folder() -> Path:
    _folders.append(tempfile.TemporaryDirectory(prefix="ganfast-bench-"))
    return Path(_folders[-1].name)


@cache
def plain(precision: str, device: torch.device, channels_last: bool) -> nn.Module:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    made = build_network(random_state_dict(0)).to(device, dtype).eval()
    return made.to(memory_format=layout)  # type: ignore[call-overload,no-any-return]


@cache
def own(precision: str, device: torch.device, compile: bool) -> Any:
    return load_extractor(weights=weights(), precision=precision, device=device, compile=compile)


def within(precision: str, run: Callable[[], Any]) -> Step:
    """``run`` with float32 products of that precision, without gradients."""

    def step() -> Any:
        with torch.inference_mode(), float32_products(precision):
            return run()

    return step


def network(precision: str, batch: int, *, compiled: bool = False) -> Case:
    """The features of ``batch`` images that are prepared, on the device."""

    def inputs(device: torch.device, seed: int) -> tuple[Tensor]:
        random = torch.Generator().manual_seed(seed)
        few = torch.rand(min(batch, 16), 3, SIDE, SIDE, generator=random) * 2 - 1
        return (few.to(device).repeat(-(-batch // len(few)), 1, 1, 1)[:batch].contiguous(),)

    def by_torch(images: Tensor, *, channels_last: bool) -> Step:
        module = plain(precision, images.device, channels_last)
        if channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        images = images.to(next(module.parameters()).dtype)
        return within(precision, lambda: module(images)[0])

    def ganfasts(images: Tensor, *, compile: bool = False, graph: bool = True) -> Step:
        extractor = own(precision, images.device, compile)
        images = images.contiguous(memory_format=torch.channels_last)
        if not graph:
            launched = getattr(extractor.network, "network", extractor.network)
            return within(precision, lambda: launched(images)[0])
        return lambda: extractor.extract(images)[0]

    def error_of(images: Tensor) -> ErrorOf:
        with torch.inference_mode():
            exact = build_network(random_state_dict(0)).double().to(images.device)
            right = exact(images[:2].double())[0]
        return lambda _, found: largest(found[:2], right)

    def limit(device: torch.device) -> Limit:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        n = 8192 if batch > 16 else 64
        made = multiplying(n, dtype, batch * FLOPS, device)
        return made._replace(step=within(precision, made.step))

    tolerance = TOLERANCES[precision]
    if compiled:
        rivals = {COMPILED: Provider(partial(ganfasts, compile=True), tolerance, optional=True)}
    else:
        rivals = {
            name: Provider(partial(by_torch, channels_last=last), tolerance)
            for name, last in ((NCHW, False), (CHANNELS_LAST, True))
        }
        rivals[OWN] = Provider(partial(ganfasts, graph=False), tolerance)
    return Case(
        name=f"network-{precision}-{batch}{'-compiled' * compiled}",
        section=f"The Inception network{', ganfast by torch.compile' * compiled}",
        label=f"{precision}, batch {batch}",
        inputs=inputs,
        providers={**rivals, GANFAST: Provider(ganfasts, tolerance)},
        error_of=error_of,
        limit=limit,
        seconds=1.0,
        rounds=3,
        graphs=not compiled,
        rotates=False,  # an image is half a megabyte of activations to the first layer alone
        items=batch,
        setting_up=35.0 if compiled else 3.0,
    )


class Whole:
    """`evaluate()` from images to FID; ``result`` is the last one."""

    def __init__(self, real: Any, fake: Any, **options: Any) -> None:
        self.real, self.fake, self.options = real, fake, options
        self.result: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        # As FID alone is asked for; with an extractor that is loaded: as while training. Both sides
        # are looked at each time.
        given = {"inception_score": False, "cache": False, **self.options}
        self.result = evaluate(self.real, self.fake, **given)
        return self.result


def whole(kind: str, count: int, precision: str, *, dims: int = 2048) -> Case:
    """FID of ``count`` against ``count`` images, with the share of each stage."""

    def inputs(device: torch.device, seed: int) -> tuple[Any, ...]:
        return (*(uint8_images(count) if kind == TENSORS else jpeg_folders(count)), device)

    def provider(real: Any, fake: Any, device: torch.device) -> Whole:
        extractor = load_extractor(weights=weights(), precision=precision, device=device, dims=dims)
        warm = Whole(*uint8_images(min(count, 512)), extractor=extractor, device=device)
        warm()
        return Whole(real, fake, extractor=extractor, device=device)

    def error_of(*given: Any) -> ErrorOf:
        """No other answer is there in seconds: all images were seen, and it is a distance."""

        def error(_: str, found: dict[str, Any]) -> float:
            seen = (found["n_real"], found["n_fake"]) == (count, count)
            return 0.0 if seen and math.isfinite(found["fid"]) and found["fid"] > 0 else math.inf

        return error

    def stages(steps: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return {"shares": {GANFAST: steps[GANFAST].step.result["stages"]}}

    return Case(
        name=f"fid-{kind.split()[0].lower()}-{kind.split()[1].strip(',')}-{count}-{precision}",
        section=f"FID of {count:,} against {count:,} images",
        label=f"{kind}, {precision}",
        inputs=inputs,
        providers={GANFAST: Provider(provider, 0.0, slow=True)},
        error_of=error_of,
        limit=partial(
            multiplying,
            8192 if dims == 2048 else 64,
            torch.bfloat16 if precision == "bf16" else torch.float32,
            2 * count * FLOPS,
        ),
        seconds=0.0,
        rounds=1,
        after=stages,
        rotates=False,
        items=2 * count,
        setting_up=18.0,
    )


def uint8_images(count: int, side: int = 32) -> tuple[Tensor, Tensor]:
    """Two sides of random pictures (count, side, side, 3); the second are paler."""
    random = torch.Generator().manual_seed(0)
    shape = (count, side, side, 3)
    real, fake = (torch.randint(256, shape, generator=random, dtype=torch.uint8) for _ in (0, 1))
    return real, fake.div(2, rounding_mode="floor").add_(64)


def jpeg_folders(count: int, side: int = 256, distinct: int = 500) -> tuple[Path, Path]:
    """Two folders of smooth pictures with some noise; each of ``distinct`` stands there under many
    names, since it is decoded all the same."""
    from PIL import Image

    draw = np.random.default_rng(0)
    place = _kept_folder()
    for name, noise in (("real", 4.0), ("fake", 12.0)):
        folder = place / name
        folder.mkdir()
        for index in range(count):
            path = folder / f"{index:06}.jpg"
            if index >= distinct:
                os.link(folder / f"{index % distinct:06}.jpg", path)
                continue
            coarse = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
            noisy = np.asarray(picture) + draw.normal(0, noise, (side, side, 3))
            Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return place / "real", place / "fake"
