"""Checks of what is on a GPU, which wait for it once in many batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.summary.score_tally import PROBABILITIES, are_distributions

MOST = 256
"""Batches between two readings, so that a network that fails is told of before the last image."""


def without_waiting(x: Tensor, device: torch.device) -> Tensor:
    """``x``, of the host, on ``device``: to a GPU from pinned memory, which nobody waits for."""
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def not_finite(name: str, bad: np.ndarray, n: int) -> InputError:
    """Of ``n`` images those at the positions ``bad``."""
    more = ", ..." if len(bad) > 10 else ""
    return InputError(
        f"{name}: got NaN or inf for {len(bad)} of {n} images, at the positions "
        f"{', '.join(map(str, bad[:10]))}{more}; leave these images out, or mend the network"
    )


class LateChecks:
    """Whether features and logits that were taken in are finite, and logits no probabilities.

    Read at once, each batch would make the host wait for the GPU, and the GPU then for the host.
    What read() has found it raises again whenever it is called: the sums are of no use any more.
    """

    def __init__(self) -> None:
        self._positions: list[np.ndarray] = []
        self._features: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._half = False
        self._found: InputError | None = None

    def note(self, positions: np.ndarray, features: Tensor, logits: Tensor | None) -> None:
        """Have a batch looked at, on its device."""
        if self._found is not None or len(self._positions) == MOST:
            self.read()
        self._positions.append(positions)
        self._features.append(_sums(features))
        if logits is not None:
            self._half = logits.dtype.itemsize == 2
            sums = _sums(logits)
            # One class has nothing to tell by.
            least = logits.amin(1).double() if logits.shape[1] > 1 else -sums.abs() - 1
            self._logits.append(torch.stack([sums, least]))

    def read(self) -> None:
        """Wait for the device; InputError, with the positions, if something was wrong."""
        if self._found is None and self._positions:
            self._found = self._outcome()
            self._positions, self._features, self._logits = [], [], []
        if self._found is not None:
            raise self._found

    def _outcome(self) -> InputError | None:
        positions = np.concatenate(self._positions)
        bad = ~np.isfinite(torch.cat(self._features).cpu().numpy())
        if bad.any():
            return not_finite("features", positions[bad], len(bad))
        if not self._logits:
            return None
        sizes = [batch.shape[1] for batch in self._logits]
        sums, least = torch.cat(self._logits, 1).cpu()
        bad = ~np.isfinite(sums.numpy())
        if bad.any():
            return not_finite("logits", positions[bad], len(bad))
        batches = zip(sums.split(sizes), least.split(sizes), strict=True)
        if any(are_distributions(*batch, half=self._half) for batch in batches):
            return InputError(PROBABILITIES)
        return None


def _sums(rows: Tensor) -> Tensor:
    """(n,) float64, finite where a row is: narrower numbers have no sum that float64 has not."""
    if rows.dtype == torch.float64:
        rows = rows * 0
    return rows.sum(1, dtype=torch.float64)
