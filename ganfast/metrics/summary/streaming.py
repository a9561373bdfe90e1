"""Mean and covariance of feature vectors that come in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast import _checks
from ganfast._dispatch import serve
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.summary.feature_rows import FeatureRows
from ganfast.metrics.summary.scatter import RunningMean, Scatter, all_reduce
from ganfast.reference.row_buffer import RowBuffer

BLOCK = 1024
"""Rows that are squared together, one of which is the mean's: enough for the product to run at the
full rate, and 17 MiB at dim = 2048."""


class Moments:
    """Streaming mean and covariance of feature vectors, in float64 and O(dim^2) memory.

    ::

        moments = Moments(2048)
        for images in loader:
            moments.update(network(images))
        frechet_distance(moments.mean, moments.covariance, reference_mean, reference_covariance)

    The result does not depend, up to round-off, on how rows are divided into updates, or into
    objects that are merged, and in which order; for the same sequence of calls it is the same to
    the last bit. Reading a result changes nothing. What is counted on is ``device``; by default the
    device of the first features. No gradient flows through it.
    """

    def __init__(self, dim: int, *, device: torch.device | str | None = None) -> None:
        self.dim = _checks.integer("dim", dim, least=1)
        self._device = None if device is None else _checks.device("device", device)
        self.reset()

    def __repr__(self) -> str:
        return f"Moments(dim={self.dim}, count={self.count})"

    def __getstate__(self) -> dict[str, Any]:
        # The buffer is memory that a kernel knows by its address: an address can't be copied.
        state = None if self._scatter is None else self.state_dict()
        return {"dim": self.dim, "device": self._device, "state": state}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.dim, self._device = kept["dim"], kept["device"]
        self.reset()
        if kept["state"] is not None:
            self.load_state_dict(kept["state"])

    def reset(self) -> None:
        """Forget all rows."""
        # Made when rows come: the device may not be known before.
        self._scatter: Scatter | None = None
        self._buffer: RowBuffer | None = None

    @property
    def count(self) -> int:
        """The number of rows so far."""
        if self._scatter is None or self._buffer is None:
            return 0
        return self._buffer.count + self._scatter.mean.count

    @no_autograd
    def update(self, features: Tensor | np.ndarray) -> None:
        """Take in the rows of ``features`` (n, dim); n may be 0, or more than memory for a copy.

        Float64, float32, float16, bfloat16 or uint8, any strides, on any device; they are not
        modified.

        Raises:
            ValueError: (an InputError) NaN or inf, another dtype or another shape; nothing is taken
                in then. On a GPU that check waits for the features.
        """
        rows = FeatureRows(features, self.dim)
        if not len(rows):
            return
        _, buffer = self._storage(rows.device)
        if len(rows) <= buffer.capacity - buffer.count:  # one piece: copied and checked at once
            (piece,) = rows.pieces()
            if not buffer.append(piece):
                rows.check_finite()
            self._absorb_if_full()
        else:
            rows.check_finite()
            for piece in rows.pieces():
                self._append(piece, rows.device)

    @no_autograd
    def update_unchecked(self, features: Tensor) -> None:
        """As update(), without waiting for the device, of features (n, dim) that are checked
        elsewhere."""
        self._append(features.detach(), features.device)

    @no_autograd
    def merge(self, other: Moments) -> None:
        """Take in all the rows that ``other`` has; ``other`` stays as it is."""
        if not isinstance(other, Moments):
            raise InputTypeError(f"other: got a {type(other).__name__}; give a Moments")
        if other.dim != self.dim:
            raise InputError(f"other: got dim {other.dim}; give a Moments of dim {self.dim}")
        if other._scatter is None or other._buffer is None:
            return
        rows = other._buffer.rows()  # a copy: other may be self
        scatter, _ = self._storage(other._scatter.device)
        theirs = other._scatter
        scatter.merge(theirs if theirs.device == scatter.device else theirs.copy(scatter.device))
        self._append(rows, rows.device)

    @property
    @no_autograd
    def mean(self) -> Tensor:
        """(dim,) float64."""
        self._need(1, "mean")
        scatter, buffer = self._storage(torch.device("cpu"))
        if not buffer.count:
            return scatter.mean.value()
        also = RunningMean(buffer.count, *self._copied(buffer).centre())
        return scatter.mean.with_also(also).value()

    @property
    @no_autograd
    def covariance(self) -> Tensor:
        """(dim, dim) float64, over N - 1 as np.cov has it; it needs two rows."""
        self._need(2, "covariance")
        return self._total().whole(self.count - 1)

    @property
    @no_autograd
    def population_covariance(self) -> Tensor:
        """(dim, dim) float64, over N: np.cov(..., ddof=0)."""
        self._need(1, "population_covariance")
        return self._total().whole(self.count)

    @no_autograd
    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all there is, as plain contiguous tensors.

        ``count`` rows have the mean ``mean`` + ``mean_low`` and the scatter matrix ``scatter``;
        ``pending`` are the rows that wait for a full block. An object that goes on from
        here computes the same bits as one that never stopped.
        """
        scatter = self._scatter or self._none()
        if self._buffer is None:
            pending = torch.empty(0, self.dim, dtype=torch.float64, device=scatter.device)
        else:
            pending = self._buffer.rows()
        return {
            "count": torch.tensor(scatter.mean.count),
            "mean": scatter.mean.high.clone(),
            "mean_low": scatter.mean.low.clone(),
            "scatter": scatter.whole(),
            "pending": pending,
        }

    @no_autograd
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace all rows by those of ``state``, which ``state_dict()`` made."""
        dim = self.dim
        wanted = {"count": (), "mean": (dim,), "mean_low": (dim,), "scatter": (dim, dim)}
        if set(state) != {*wanted, "pending"}:
            raise InputError(
                f"state: got the keys {', '.join(map(str, state)) or 'none'}; give "
                f"{', '.join([*wanted, 'pending'])}, as state_dict() does"
            )
        pending = state["pending"]
        wanted["pending"] = (len(pending) if pending.dim() else 0, dim)
        for name, shape in wanted.items():
            if tuple(state[name].shape) != shape:
                raise InputError(
                    f"state[{name!r}]: got shape {tuple(state[name].shape)}; give {shape}, as "
                    f"dim is {dim}"
                )
        self.reset()
        scatter, _ = self._storage(state["mean"].device)
        high, low = (
            state[name].to(scatter.device, torch.float64, copy=True)
            for name in ("mean", "mean_low")
        )
        mean = RunningMean(int(state["count"]), high, low)
        self._scatter = Scatter(mean, state["scatter"] if mean.count else None)
        self._append(pending, pending.device)

    @no_autograd
    def all_reduce(self, group: Any = None) -> None:
        """Make this object, in every process of ``group``, hold the rows of all of them.

        Processes may hold different numbers of rows, or none; each must call this, and once: a
        second call would count the rows once more for each process. Needs torch.distributed; with
        NCCL it goes through the current CUDA device.
        """
        reduced = all_reduce(self._total() if self.count else self._none(), group)
        device = self._scatter.device if self._scatter else self._device or reduced.device
        self.reset()
        self._storage(device)
        self._scatter = reduced.copy(device)

    def _need(self, count: int, what: str) -> None:
        if self.count < count:
            raise InputError(f"{what}: got {self.count} rows; give at least {count}, by update()")

    def _none(self) -> Scatter:
        return Scatter.of_none(self.dim, self._device or torch.device("cpu"))

    def _storage(self, device: torch.device) -> tuple[Scatter, RowBuffer]:
        """What rows go into; made on ``device`` if no other was asked for."""
        if self._scatter is None or self._buffer is None:
            self._scatter = Scatter.of_none(self.dim, self._device or device)
            self._buffer = self._new_buffer(BLOCK - 1)
        return self._scatter, self._buffer

    def _new_buffer(self, capacity: int) -> RowBuffer:
        """For rows, where the scatter is."""
        assert self._scatter is not None
        high = self._scatter.mean.high
        room: RowBuffer = serve("moments", (high,)).RowBuffer(capacity, self.dim, high.device)
        return room

    def _copied(self, buffer: RowBuffer) -> RowBuffer:
        copy = self._new_buffer(buffer.count)
        copy.append(buffer.rows(), checked=True)
        return copy

    def _append(self, rows: Tensor, device: torch.device) -> None:
        """Take in rows that are finite, or are to be found out otherwise."""
        _, buffer = self._storage(device)
        while len(rows):
            room = buffer.capacity - buffer.count
            buffer.append(rows[:room], checked=True)
            rows = rows[room:]
            self._absorb_if_full()

    def _absorb_if_full(self) -> None:
        assert self._scatter is not None and self._buffer is not None
        if self._buffer.count == self._buffer.capacity:
            self._scatter.absorb(self._buffer)

    def _total(self) -> Scatter:
        """Everything so far in a new Scatter, those rows included that wait for a full block."""
        assert self._scatter is not None and self._buffer is not None
        total = self._scatter.copy(self._scatter.device)
        if self._buffer.count:
            total.absorb(self._copied(self._buffer))
        return total


def moments(features: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    """The mean (d,) and the unbiased covariance (d, d) of ``features`` (n, d), both float64.

    Raises:
        ValueError: (an InputError) fewer than two rows, another shape, NaN or inf.
    """
    if features.ndim != 2 or features.shape[0] < 2:
        raise InputError(
            f"features: got shape {tuple(features.shape)}; give (n, d) with at least 2 rows"
        )
    summed = Moments(features.shape[1])
    summed.update(features)
    return summed.mean, summed.covariance
