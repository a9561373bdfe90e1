"""FID as a metric that is fed batch by batch, in torchmetrics' shape."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError, one_line
from ganfast.metrics.batch_features import BatchFeatures, Extract
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.distributed import gather
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.summary import Moments

if TYPE_CHECKING:
    from typing_extensions import Self

_NAMES = {True: "real", False: "fake"}


class FrechetInceptionDistance(nn.Module):
    """FID between the images of two streams.

    ::

        fid = FrechetInceptionDistance()
        for real, fake in zip(loader, generated):
            fid.update(real, real=True)
            fid.update(fake, real=False)
        fid.compute()

    Means and covariances are summed up in float64 in O(d^2) memory, no features are kept, and the
    result does not depend on the division into batches. Under torch.distributed compute() is over
    the images of all processes, which may have different numbers of them; what each has stays its
    own, so that compute() may be called again. All processes must call it; with ``sync=False`` one
    may call it alone, for its own images; a wait of half a minute is warned of. Copies and pickles
    are objects of their own.

    Metrics that have one extractor, or the default one, share it, and where they are given the same
    images one after the other it looks at them once. In a torchmetrics.MetricCollection, or logged
    by Lightning: ganfast.compat.torchmetrics.

    Differences from torchmetrics: the number is pytorch-fid's (its resizing, float64 throughout)
    with the default extractor; floats are rounded to 1/255 and not truncated, and refused out of
    range (by more than round-off); too few images for a covariance of full rank are warned of.

    It is a torch.nn.Module, as in torchmetrics: ``.to()`` and ``.cuda()`` say where the network
    runs and never change a dtype, and its state is in the state_dict of whatever holds it. The
    weights of the network are in neither ``parameters()`` nor ``state_dict()``, and ``train()``
    leaves it in evaluation mode. ``forward`` is ``update``.

    Args:
        feature: 64, 192, 768 or 2048: a layer of the FID Inception network, whose weights are
            looked for at the first update. Or what ``extractor`` may be.
        reset_real_features: whether reset() forgets the real side as well.
        normalize: images are floats from 0 to 1; else uint8.
        extractor: in place of ``feature``, a callable that takes uint8 images
            (n, h, w, 3), as an Extractor does, and gives features (n, d), alone or in a pair with
            logits. Or a torch.nn.Module, which gets whatever update() is given, as torchmetrics has
            it (neither checked nor converted, whatever ``normalize``); it is put into evaluation
            mode.
        feature_extractor_weights_path: the file of the Inception weights; by default torch hub's
            cache, else a download.
        device: of the Inception network; by default that of the first images.
        process_group: over which to sum; by default all processes.
        sync: whether compute() is over the images of all processes.
    """

    def __init__(
        self,
        feature: int | Extract = 2048,
        reset_real_features: bool = True,
        normalize: bool = False,
        *,
        extractor: Extract | None = None,
        feature_extractor_weights_path: str | os.PathLike[str] | None = None,
        device: torch.device | str | None = None,
        process_group: Any = None,
        sync: bool = True,
    ) -> None:
        super().__init__()
        self._probe = torch.empty(0, dtype=torch.uint8)
        # Not a submodule: its weights are no part of what is trained or saved.
        self._features = BatchFeatures(feature, extractor, feature_extractor_weights_path, device)
        self.reset_real_features = _checks.flag("reset_real_features", reset_real_features)
        self.normalize = _checks.flag("normalize", normalize)
        self.process_group = process_group
        self.sync = _checks.flag("sync", sync)
        self._dtype = torch.float64
        self._sides: dict[bool, Moments] = {}

    def __repr__(self) -> str:
        return f"FrechetInceptionDistance(n_real={self.n_real}, n_fake={self.n_fake})"

    @property
    def extractor(self) -> Extract | None:
        """What makes the features; None before a network of its own is loaded."""
        return self._features.extractor

    @property
    def n_real(self) -> int:
        """Real images in this process so far."""
        return self._count(True)

    @property
    def n_fake(self) -> int:
        """Generated images in this process so far."""
        return self._count(False)

    def update(self, images: Tensor, real: bool) -> None:
        """Take in ``images``, (n, 3, h, w) or (n, h, w, 3), or 1 for the 3 of gray ones: uint8, or
        with ``normalize`` floats from 0 to 1, which become round(255 x). On any device; they are
        not modified. ``real`` is a bool, or 1 or 0.

        Raises:
            ValueError: (an InputError) another shape or dtype, floats out of range, or an extractor
                whose features are not finite, not (n, d), or not as wide as before; nothing is
                taken in then.
        """
        real = as_side(real)
        features, _ = self._features(images, self.normalize)
        dim = features.shape[1]
        for side in self._sides.values():
            if side.dim != dim:
                raise InputError(
                    f"extractor: got {dim} features, and {side.dim} before; give one of one width"
                )
        side = self._sides.get(real) or Moments(dim)
        side.update(features)
        self._sides[real] = side

    @no_autograd
    def compute(self, *, sync: bool | None = None) -> Tensor:
        """The FID, a tensor without axes, float64 but for set_dtype(), on the CPU. ``sync`` as at
        construction, for this call.

        Warns below d + 1 images of a side, where the covariance is singular and FID tells more of
        the number of images than of the images.

        Raises:
            ValueError: (an InputError) fewer than 2 images of a side, or processes that don't call
                this, once the group's time-out or their end tells.
        """
        sync = self.sync if sync is None else _checks.flag("sync", sync)
        real, fake = (self._everyones(side, sync) for side in (True, False))
        for name, side in (("real", real), ("fake", fake)):
            count = 0 if side is None else side.count
            if count < 2:
                raise InputError(
                    f"compute: got {count} images with real={name == 'real'}; give at least 2 "
                    "images of each side, by update()"
                )
        assert real is not None and fake is not None
        warn_of_few(
            real.count, fake.count, real.dim, stacklevel=5
        )  # the caller of compute: no_autograd() is in between
        return torch.tensor(frechet_terms(real, fake).fid, dtype=self._dtype)

    def reset(self) -> None:
        """Forget the images: all, or the generated ones alone without ``reset_real_features``."""
        kept = {} if self.reset_real_features else {True: self._sides.get(True)}
        self._sides = {real: side for real, side in kept.items() if side is not None}
        self._features.forget()

    def forward(self, images: Tensor, real: bool) -> None:
        """As update()."""
        self.update(images, real)

    def set_dtype(self, dtype: torch.dtype) -> Self:
        """Make ``dtype`` that of what compute() returns; the sums are float64 whatever it is."""
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise InputTypeError(f"dtype: got {dtype!r}; give one of floats, such as torch.float32")
        self._dtype = dtype
        return self

    def train(self, mode: bool = True) -> Self:
        """Note the mode; a network that measures stays in evaluation mode."""
        self.training = _checks.flag("mode", mode)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What .to(), .cuda(), .half() and others do to a module: the device alone is taken. A
        probe of bytes tells it, which a conversion of floats leaves as they are."""
        held = self._probe.device
        self._probe = torch.empty(0, dtype=torch.uint8, device=fn(self._probe).device)
        device = self._probe.device
        if device == held:
            return self
        self._features.to(device)
        for real, side in self._sides.items():
            self._sides[real] = _moments(side.state_dict(), device)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Copies of the moments of both sides, of this process; nothing of the network."""
        for real, side in sorted(self._sides.items()):
            for key, value in side.state_dict().items():
                destination[f"{prefix}{_NAMES[real]}.{key}"] = value

    def _load_from_state_dict(
        self, state: Any, prefix: str, local: Any, strict: bool, missing: Any, unexpected: Any,
        errors: Any,
    ) -> None:  # fmt: skip
        """Replace all images by those of ``state``."""
        own = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        sides = {}
        for real, name in _NAMES.items():
            start = f"{name}."
            part = {k[len(start) :]: own.pop(k) for k in list(own) if k.startswith(start)}
            if part:
                if "mean" not in part:
                    raise InputError(
                        f"state: got {list(part)}; give what state_dict() of such a metric gave"
                    )
                sides[real] = _moments(part, None)
        self._sides = sides
        if strict:
            unexpected += [prefix + key for key in own]

    def _count(self, real: bool) -> int:
        return self._sides[real].count if real in self._sides else 0

    def _everyones(self, real: bool, sync: bool) -> Moments | None:
        """The moments of all processes, or without ``sync`` of this one; its own stay as they
        are."""
        import torch.distributed as dist

        own = self._sides.get(real)
        if not (sync and dist.is_available() and dist.is_initialized()):
            return own
        try:
            return self._reduced(own)
        except InputError:
            raise
        except RuntimeError as error:  # gloo and NCCL have no type of their own for all of it
            raise InputError(
                "compute: the other processes did not come to it; call it in all of them, or with "
                f"sync=False for this one's images alone ({one_line(error)})"
            ) from error

    def _reduced(self, own: Moments | None) -> Moments | None:
        # A process that has no image of this side doesn't know how many features they have.
        own_dim = torch.tensor(0 if own is None else own.dim)
        dims = gather(own_dim, self.process_group, waiting=_tell_waiting)
        if not int(dims.max()):
            return None
        whole = Moments(int(dims.max()) if own is None else own.dim)
        if own is not None:
            whole.merge(own)
        whole.all_reduce(self.process_group)
        return whole


def warn_of_few(real: int, fake: int, dim: int, *, stacklevel: int) -> None:
    """Where a covariance is singular; ``stacklevel`` as of warnings.warn."""
    if min(real, fake) <= dim:
        warnings.warn(
            f"FID of {real} real and {fake} generated images in {dim} dimensions: with fewer than "
            f"{dim + 1} of a side it is far too large and comparable only at equal numbers",
            UserWarning,
            stacklevel=stacklevel,
        )


def _tell_waiting() -> None:
    warnings.warn(
        "compute() waits for the other processes, and ends only when all have called it; call it "
        "in all of them, or with sync=False for this one's images alone",
        UserWarning,
        stacklevel=9,  # the caller of compute
    )


def as_side(real: Any) -> bool:
    """True or False, or the 1 or 0 that stands for them in code for torchmetrics."""
    if isinstance(real, bool):
        return real
    try:
        return bool(_checks.integer_of("real", real, (0, 1)))
    except InputError:
        raise InputTypeError(f"real: got {real!r}; give True or False") from None


def _moments(state: dict[str, Tensor], device: torch.device | None) -> Moments:
    made = Moments(len(state["mean"]), device=device)
    made.load_state_dict(state)
    return made
