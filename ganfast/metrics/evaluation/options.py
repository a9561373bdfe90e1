"""What an evaluation can be told, checked before anything is read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganfast.errors import InputError
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.extractors.precision import check_precision, find_device
from ganfast.metrics.images.decode import BACKGROUNDS
from ganfast.metrics.protocols import PROTOCOLS, Protocol

ON_ERROR = ("raise", "skip")
CHUNKS = 20
"""Parts of each side that a bootstrap draws from and FID-infinity unites."""
SAMPLE = 10_000
"""Images of each side that KID is taken from; 80 MB at 2,048 features."""


@dataclass(frozen=True)
class Options:
    """The keyword arguments of :func:`ganfast.metrics.evaluate`, where they are explained."""

    extractor: str | Extractor = "inception"
    weights: str | Path | None = None
    protocol: str = "pytorch-fid"
    precision: str = "fp32"
    device: str | torch.device | None = None
    batch_size: int = 50
    workers: int | None = None
    compile: bool = False
    inception_score: bool = False
    splits: int = 10
    kid: bool = False
    bootstrap: int = 0
    fid_infinity: bool = False
    seed: int = 0
    background: str = "white"
    exif: bool = False
    on_error: str = "raise"
    state: str | Path | None = None
    allow_mismatch: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        _one_of("protocol", self.protocol, PROTOCOLS)
        _one_of("background", self.background, BACKGROUNDS)
        _one_of("on_error", self.on_error, ON_ERROR)
        _whole("batch_size", self.batch_size, 1)
        _whole("splits", self.splits, 1)
        _whole("bootstrap", self.bootstrap, 0)
        _whole("seed", self.seed, 0)
        if self.workers is not None:
            _whole("workers", self.workers, 0)
        check_precision(self.precision, self.chosen_device)

    @property
    def how(self) -> Protocol:
        """The protocol's row."""
        return PROTOCOLS[self.protocol]

    @property
    def chosen_device(self) -> torch.device:
        if self.device is not None:
            return find_device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def workers_beside(self, device: torch.device) -> int:
        """As many as asked for, or as suit a network on ``device``. A GPU waits for the decoders.
        On a CPU the network takes all cores and waits for nobody: one process decodes the next
        batch meanwhile."""
        if self.workers is not None:
            return self.workers
        return 1 if device.type == "cpu" else min(8, os.cpu_count() or 1)

    @property
    def chunks(self) -> int:
        return CHUNKS if self.bootstrap or self.fid_infinity else 0

    @property
    def sample(self) -> int:
        return SAMPLE if self.kid else 0


def _one_of(name: str, got: Any, known: Iterable[str]) -> None:
    known = list(known)
    if got in known:
        return
    near = difflib.get_close_matches(str(got).lower(), known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"{name}: got {got!r}; give one of {', '.join(known)}{hint}")


def _whole(name: str, got: Any, least: int) -> None:
    if isinstance(got, bool) or not isinstance(got, int) or got < least:
        raise InputError(f"{name}: got {got!r}; give a whole number of at least {least}")
