"""FID as a metric that is fed batch by batch, in torchmetrics' shape."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError, one_line
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.distributed import gather
from ganfast.metrics.images.layout import usual_range
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.summary import Moments

Extract = Callable[[Tensor], Any]
"""uint8 images to features (n, d), or to a pair of them and logits (or None)."""


class FrechetInceptionDistance:
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
    may call it alone, for its own images. Copies and pickles are objects of their own.

    Differences from torchmetrics: the number is pytorch-fid's (its resizing, float64 throughout)
    with the default extractor; floats are rounded to 1/255 and not truncated, and refused out of
    range (by more than round-off); too few images for a covariance of full rank are warned of.

    Args:
        extractor: None: the FID Inception network, ganfast.metrics.extractors.load_extractor, whose
            weights are looked for at the first update. Or a callable that takes uint8 images
            (n, h, w, 3), as an Extractor does, and gives features (n, d), alone or in a pair with
            logits. Or a torch.nn.Module, which gets whatever update() is given, as torchmetrics has
            it (neither checked nor converted, whatever ``normalize``); it is put into evaluation
            mode.
        reset_real_features: whether reset() forgets the real side as well.
        normalize: images are floats from 0 to 1; else uint8.
        device: of the default extractor; by default that of the first images.
        process_group: over which to sum; by default all processes.
        sync: whether compute() is over the images of all processes.
    """

    def __init__(
        self,
        extractor: Extract | None = None,
        *,
        reset_real_features: bool = True,
        normalize: bool = False,
        device: torch.device | str | None = None,
        process_group: Any = None,
        sync: bool = True,
    ) -> None:
        if extractor is not None and not callable(extractor):
            raise InputTypeError(
                f"extractor: got a {type(extractor).__name__}; give None, or a callable that gives "
                "features (n, d) of uint8 images"
            )
        # An Extractor may be a module, too; its protocol says what it takes.
        self._as_given = isinstance(extractor, nn.Module) and not hasattr(extractor, "protocol")
        if isinstance(extractor, nn.Module):
            extractor.eval()
        self.extractor = extractor
        self.reset_real_features = _checks.flag("reset_real_features", reset_real_features)
        self.normalize = _checks.flag("normalize", normalize)
        self.process_group = process_group
        self.sync = _checks.flag("sync", sync)
        self._device = device
        self._sides: dict[bool, Moments] = {}

    def __repr__(self) -> str:
        return f"FrechetInceptionDistance(n_real={self.n_real}, n_fake={self.n_fake})"

    @property
    def n_real(self) -> int:
        """Real images in this process so far."""
        return self._count(True)

    @property
    def n_fake(self) -> int:
        """Generated images in this process so far."""
        return self._count(False)

    def update(self, images: Tensor, real: bool) -> None:
        """Take in ``images``, (n, 3, h, w) or (n, h, w, 3): uint8, or with ``normalize`` floats
        from 0 to 1, which become round(255 x). On any device; they are not modified.

        Raises:
            ValueError: (an InputError) another shape or dtype, floats out of range, or an extractor
                whose features are not finite, not (n, d), or not as wide as before; nothing is
                taken in then.
        """
        real = _checks.flag("real", real)
        features = self._features(images if self._as_given else self._uint8(images))
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
        """The FID, a float64 tensor without axes, on the CPU. ``sync`` as at construction, for this
        call.

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
        if min(real.count, fake.count) <= real.dim:
            warnings.warn(
                f"FID of {real.count} real and {fake.count} generated images in {real.dim} "
                f"dimensions: with fewer than {real.dim + 1} of a side it is far too large and "
                "comparable only at equal numbers",
                UserWarning,
                stacklevel=4,  # the caller of compute: no_autograd() is in between
            )
        return torch.tensor(frechet_terms(real, fake).fid, dtype=torch.float64)

    def reset(self) -> None:
        """Forget the images: all, or the generated ones alone without ``reset_real_features``."""
        kept = {} if self.reset_real_features else {True: self._sides.get(True)}
        self._sides = {real: side for real, side in kept.items() if side is not None}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the moments of both sides, of this process."""
        return {
            f"{'real' if real else 'fake'}.{key}": value
            for real, side in sorted(self._sides.items())
            for key, value in side.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace all images by those of ``state``, which ``state_dict()`` made."""
        sides = {}
        for name, real in (("real", True), ("fake", False)):
            start = f"{name}."
            own = {k[len(start) :]: v for k, v in state.items() if k.startswith(start)}
            if own:
                if "mean" not in own:
                    raise InputError(
                        f"state: got {list(own)}; give what state_dict() of such a metric gave"
                    )
                sides[real] = Moments(len(own["mean"]))
                sides[real].load_state_dict(own)
        self._sides = sides

    def _count(self, real: bool) -> int:
        return self._sides[real].count if real in self._sides else 0

    def _uint8(self, images: Tensor) -> Tensor:
        """(n, h, w, 3)"""
        if not isinstance(images, Tensor):
            raise InputTypeError(f"images: got a {type(images).__name__}; give a torch tensor")
        shape = tuple(images.shape)
        if len(shape) != 4 or 3 not in (shape[1], shape[3]) or 0 in shape[1:]:
            raise InputError(
                f"images: got shape {shape}; give (n, 3, h, w) or (n, h, w, 3), with a grey "
                "channel repeated three times"
            )
        if shape[1] == 3:
            images = images.permute(0, 2, 3, 1)
        if not self.normalize:
            if images.dtype != torch.uint8:
                raise InputError(
                    f"images: got {images.dtype}; give uint8, or normalize=True for floats from 0 "
                    "to 1"
                )
            return images.detach().contiguous()
        if not images.is_floating_point():
            raise InputError(
                f"images: got {images.dtype} with normalize=True; give floats from 0 to 1, or "
                "leave normalize out for uint8"
            )
        images = images.detach()
        # float32 holds each multiple of 1/255 well enough to round to it; bfloat16 does not.
        wide = images.to(torch.promote_types(images.dtype, torch.float32))
        # Resizing white gives a few rounding steps more than 1.
        slack = 4 * max(torch.finfo(torch.float32).eps, torch.finfo(images.dtype).eps)
        if images.numel() and not bool(((wide >= -slack) & (wide <= 1 + slack)).all()):
            low, high = float(wide.min()), float(wide.max())
            cure = {
                "[-1, 1]": ": of tanh's -1 to 1, (x + 1) / 2",
                "[0, 255]": ": of 0 to 255, x / 255",
            }.get(usual_range(low, high)[0], ", clamped")
            raise InputError(
                f"images: got {low:.8g} to {high:.8g} with normalize=True; give floats from 0 to "
                f"1{cure}"
            )
        return (wide * 255).round().clamp(0, 255).to(torch.uint8).contiguous()

    def _features(self, images: Tensor) -> Tensor:
        if self.extractor is None:
            # With its network and preprocessing only for who has no extractor.
            extractors = importlib.import_module("ganfast.metrics.extractors")
            self.extractor = extractors.load_extractor(
                "inception", device=self._device or images.device
            )
        with torch.no_grad():
            output = self.extractor(images)
        features = output[0] if isinstance(output, tuple) else output
        n = len(images)
        if (
            not isinstance(features, Tensor)
            or features.dim() != 2
            or len(features) != n
            or not features.shape[1]
        ):
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise InputError(f"extractor: got features of shape {got}; give one of ({n}, d)")
        return features

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
        dims = gather(torch.tensor(0 if own is None else own.dim), self.process_group)
        if not int(dims.max()):
            return None
        whole = Moments(int(dims.max()) if own is None else own.dim)
        if own is not None:
            whole.merge(own)
        whole.all_reduce(self.process_group)
        return whole
