"""Who judges generated samples: an extractor of features, as `ganfast fid` has them, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ganfast.metrics.extractors import load_extractor
from ganfast.train.watch.measures import Sets, measure

BATCH = 64

See: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Samples (n, *shape), images in [-1, 1] -> features (n, d), logits (n, classes) or None."""


class Judge:
    """Compares sets of ``count`` samples, as many as it keeps of ``held_out``, with these.

    Args:
        held_out: real samples (n, *shape), images in [-1, 1].
        see: whose features are compared; by default the numbers of the samples themselves.
    """

    def __init__(self, held_out: Tensor, see: See | None = None) -> None:
        self._see, self.count = see or _as_they_are, len(held_out)
        self._by_network = see is not None
        self._real = self._see(held_out)

    def __call__(self, samples: Tensor) -> dict[str, float]:
        """Each row of MEASURES that fits, by name; NaN where samples are no longer finite."""
        finite = bool(torch.isfinite(samples).all())
        (real, real_logits), seen = self._real, self._see(samples.nan_to_num(0.0, 1.0, -1.0))
        found = measure(Sets(real, seen[0], real_logits, seen[1], self._by_network))
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


def _as_they_are(samples: Tensor) -> tuple[Tensor, Tensor | None]:
    return samples.flatten(1), None
