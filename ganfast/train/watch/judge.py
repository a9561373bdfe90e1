"""Who judges generated samples: an extractor of features, as `ganfast fid` has them, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ganfast.metrics.extractors import load_extractor
from ganfast.train.watch.independent_critic import Distance, independent_distance
from ganfast.train.watch.measures import Sets, measure

BATCH = 64

See: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Samples (n, *shape), images in [-1, 1] -> features (n, d), logits (n, classes) or None."""


class Judge:
    """Compares sets of ``count`` samples, as many as it keeps of ``held_out``, with these.

    Args:
        held_out: real samples (n, *shape), images in [-1, 1].
        see: whose features are compared; by default the numbers of the samples themselves.
        device: of the critic that measures the distance.
    """

    def __init__(
        self, held_out: Tensor, see: See | None = None, *, device: torch.device | str = "cpu"
    ) -> None:
        self._see, self.count, self._device = see or _as_they_are, len(held_out), device
        self._by_network = see is not None
        self._real = self._see(held_out)
        self._held_out = self._real[0] if self._by_network else held_out
        spread = float(self._held_out.var(dim=0).sum().sqrt())
        self._unit = spread if self._by_network and spread > 0 else 1.0

    def __call__(self, samples: Tensor) -> dict[str, float]:
        """Each row of MEASURES that fits, by name; NaN where samples are no longer finite."""
        return self._rows(samples, *self._see(_finite(samples)))

    def with_distance(self, samples: Tensor, seed: int) -> dict[str, float]:
        """The rows of the first ``count`` of ``samples``, and before them ``distance`` and
        ``distance_fit`` of all: the independent critic's, of features in units of their spread (the
        root of their total variance), or without a network of the samples' own numbers."""
        features, logits = self._see(_finite(samples))
        generated = features if self._by_network else samples
        found = Distance(float("nan"), float("nan"))
        if torch.isfinite(samples).all():
            to = self._device, torch.float32
            sets = ((one / self._unit).to(*to) for one in (self._held_out, generated))
            found = independent_distance(*sets, seed=seed)
        n = self.count
        rows = self._rows(samples[:n], features[:n], None if logits is None else logits[:n])
        return {"distance": found.test, "distance_fit": found.fit, **rows}

    def _rows(self, samples: Tensor, features: Tensor, logits: Tensor | None) -> dict[str, float]:
        real, real_logits = self._real
        found = measure(Sets(real, features, real_logits, logits, self._by_network))
        finite = bool(torch.isfinite(samples).all())
        return found if finite else dict.fromkeys(found, float("nan"))


def seen_by(extractor: str, device: torch.device | str = "cpu") -> See:
    """Eyes for a Judge of images: an extractor by its name, as for ``ganfast fid``.

    Raises:
        InputError: there is none, or its weights can't be had.
    """
    network = load_extractor(extractor, device=device)

    def see(images: Tensor) -> tuple[Tensor, Tensor | None]:
        # As bytes, as they would be saved: the same numbers as from files.
        unit = images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        rows = unit.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()
        parts = [network(part) for part in rows.split(BATCH)]
        logits = [part[1] for part in parts if part[1] is not None]
        features = torch.cat([part[0] for part in parts]).cpu()
        return features, torch.cat(logits).cpu() if logits else None

    return see


def _finite(samples: Tensor) -> Tensor:
    return samples.nan_to_num(0.0, 1.0, -1.0)


def _as_they_are(samples: Tensor) -> tuple[Tensor, Tensor | None]:
    return samples.flatten(1), None
