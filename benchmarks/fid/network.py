"""The Inception network alone, on pictures that are prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.contest import Contest, Entry
from benchmarks.fid.whole import FLOPS
from benchmarks.limit import multiplying
from benchmarks.names import GANFAST
from benchmarks.ours import NotThere, op
from tests.metrics.inception_weights import random_state_dict

PEER = "pytorch-fid's network"


@dataclass(frozen=True)
class Network:
    precision: str
    batch: int

    @property
    def name(self) -> str:
        return f"network-{self.precision}-{self.batch}"

    def contest(self) -> Contest:
        state = random_state_dict(0)
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(self.batch, 3, 299, 299, generator=generator) * 2 - 1
        with torch.inference_mode():
            exact = _features(_ours("fp32", state)(images[:2]))

        def peer() -> Any:
            try:
                from pytorch_fid.inception import InceptionV3, fid_inception_v3  # noqa: F401
            except (ImportError, RuntimeError):
                raise NotThere("pytorch-fid is not installed") from None
            raise NotImplementedError

        def ours() -> Any:
            network = _ours(self.precision, state)
            given = images.contiguous(memory_format=torch.channels_last)

            @torch.inference_mode()
            def run() -> Tensor:
                return _features(network(given))

            return run

        def error(_: str, found: Tensor) -> float:
            return float((found[:2].double() - exact).abs().max() / exact.abs().max())

        return Contest(
            section="The Inception network",
            label=f"{self.precision}, batch {self.batch}",
            entries={PEER: Entry(peer), GANFAST: Entry(ours)},
            error=error,
            yard=multiplying(2048, torch.float32),
            cost=self.batch * FLOPS,
            seconds=20.0,
            rounds=3,
        )


def _ours(precision: str, state: dict[str, Tensor]) -> Any:
    return op("metrics.inception.fast")
