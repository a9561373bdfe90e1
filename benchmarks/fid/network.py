"""The Inception network alone, on pictures that are prepared."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.contest import Contest, Entry
from benchmarks.fid import pipeline
from benchmarks.fid.whole import FLOPS
from benchmarks.limit import multiplying
from benchmarks.names import GANFAST
from benchmarks.ours import NotThere, op
from tests.metrics.inception_weights import random_state_dict, save_random_weights

PEER = "pytorch-fid's network"


@dataclass(frozen=True)
class Network:
    precision: str
    batch: int

    @property
    def name(self) -> str:
        return f"network-{self.precision}-{self.batch}"

    def contest(self) -> Contest:
        folder = tempfile.TemporaryDirectory(prefix="ganfast-bench-")
        weights = Path(folder.name) / "weights.pth"
        save_random_weights(weights)
        load = op("metrics.extractors.load_extractor")
        extractor = load(weights=weights, precision=self.precision)
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(self.batch, 3, 299, 299, generator=generator) * 2 - 1
        prepared = images.contiguous(memory_format=torch.channels_last)
        exact = _exact(images[:2])

        def peer() -> Any:
            try:
                network = _peer(weights)
            except (ImportError, RuntimeError):  # torchvision's, beside a torch that is not its own
                raise NotThere("it is not installed") from None
            finally:
                folder.cleanup()

            @torch.inference_mode()
            def run() -> Tensor:
                return network(images)[0].flatten(1)

            return run

        def error(_: str, found: Tensor) -> float:
            return float((found[:2].double() - exact).abs().max() / exact.abs().max())

        return Contest(
            section="The Inception network",
            label=f"{self.precision}, batch {self.batch}",
            entries={
                PEER: Entry(peer),
                GANFAST: Entry(lambda: lambda: extractor.extract(prepared)[0]),
            },
            error=error,
            yard=multiplying(2048, torch.float32),
            cost=self.batch * FLOPS,
            seconds=20.0,
            rounds=3,
        )


def _exact(images: Tensor) -> Tensor:
    """The features in float64."""
    network = op("metrics.inception.network.build_network")(random_state_dict(0)).double()
    with torch.inference_mode():
        features: Tensor = network(images.double())[0]
    return features


def _peer(weights: Path) -> Any:
    from tests.compat.torchvision_stub import import_torchvision

    import_torchvision()
    from pytorch_fid.inception import InceptionV3

    with pipeline.as_published(weights):
        return InceptionV3([3], resize_input=False, normalize_input=False).eval()
