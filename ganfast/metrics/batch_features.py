"""The features of batches that a training loop gives, for metrics that may share a network."""

from __future__ import annotations

import contextlib
import copy
import importlib
import os
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.choices import DIMS
from ganfast.metrics.images.layout import channels_axis, to_rgb, usual_range

Extract = Callable[[Tensor], Any]
"""uint8 images to features (n, d), or to a pair of them and logits (or None)."""

_users: weakref.WeakKeyDictionary[Any, weakref.WeakSet[BatchFeatures]] = weakref.WeakKeyDictionary()
"""Of each extractor, who asks it."""
_last: weakref.WeakKeyDictionary[Any, tuple[Tensor, Any]] = weakref.WeakKeyDictionary()
"""Of each extractor that several ask: a copy of the last batch, and what it gave."""
_networks: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()
"""The Inception networks that are loaded, by layer, weights and device."""


class BatchFeatures:
    """Images (n, 3, h, w) or (n, h, w, 3) to features (n, d) and logits, by an extractor that is
    given or by the FID Inception network, which is loaded at the first batch and once for all.

    Where several objects have one extractor and are given the same images one after the other, the
    extractor looks at them once. The arguments are those of FrechetInceptionDistance.
    """

    def __init__(
        self,
        feature: int | Extract,
        extractor: Extract | None,
        weights: str | os.PathLike[str] | None,
        device: torch.device | str | None,
    ) -> None:
        self.dims = DIMS[-1]
        if callable(feature) and extractor is None:
            extractor = feature
        elif isinstance(feature, nn.Module) or callable(feature):
            raise InputTypeError("feature, extractor: got both; give one of them")
        else:
            self.dims = _checks.integer_of("feature", feature, DIMS)
        if extractor is not None and not callable(extractor):
            raise InputTypeError(
                f"extractor: got a {type(extractor).__name__}; give None, or a callable that gives "
                "features (n, d) of uint8 images"
            )
        # An Extractor may be a module, too; its protocol says what it takes.
        self.as_given = isinstance(extractor, nn.Module) and not hasattr(extractor, "protocol")
        if isinstance(extractor, nn.Module):
            extractor.eval()
        self.own_network = extractor is None
        self._weights, self._device = weights, device
        self._use(extractor)

    def __call__(self, images: Tensor, normalize: bool) -> tuple[Tensor, Tensor | None]:
        """InputError for images of another kind, or features that are not (n, d)."""
        if not self.as_given:
            images = as_uint8(images, normalize)
        if self.extractor is None:
            self._use(self._inception(images.device))
        output = self._seen(images)
        features, logits = output[:2] if isinstance(output, tuple) else (output, None)
        n = len(images)
        if n == 1 and isinstance(features, Tensor) and features.dim() == 1:
            features = features[None]
        if (
            not isinstance(features, Tensor)
            or features.dim() != 2
            or len(features) != n
            or not features.shape[1]
        ):
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise InputError(f"extractor: got features of shape {got}; give one of ({n}, d)")
        return features, logits

    def to(self, device: torch.device) -> None:
        """Have the network there."""
        self._device = device
        if self.own_network:
            self._use(None)  # made anew there
        elif self.as_given:
            assert isinstance(self.extractor, nn.Module)
            self.extractor.to(device)

    def forget(self) -> None:
        """Keep no batch for others any longer."""
        with contextlib.suppress(TypeError):
            _last.pop(self.extractor, None)

    def _use(self, extractor: Extract | None) -> None:
        self.extractor = extractor
        with contextlib.suppress(TypeError):  # not all that is callable can be told again
            if extractor is not None:
                _users.setdefault(extractor, weakref.WeakSet()).add(self)

    def _inception(self, device: torch.device) -> Extract:
        key = self.dims, str(self._weights), str(self._device or device)
        network = _networks.get(key)
        if network is None:
            # With its network and preprocessing only for who has no extractor.
            extractors = importlib.import_module("ganfast.metrics.extractors")
            network = _networks[key] = extractors.load_extractor(
                "inception", dims=self.dims, weights=self._weights, device=self._device or device
            )
        found: Extract = network
        return found

    def _seen(self, images: Tensor) -> Any:
        """What the extractor gives; without asking it again where it has just been asked."""
        extract = self.extractor
        assert extract is not None
        shared = False
        with contextlib.suppress(TypeError):
            shared = len(_users[extract]) > 1
            kept, output = _last.get(extract, (None, None))
            if shared and kept is not None and _equal(kept, images):
                return output
        with torch.no_grad():
            output = extract(images)
        if shared:
            _last[extract] = images.clone(), output
        return output

    def __getstate__(self) -> dict[str, Any]:
        # A network of its own is packed for this machine, and made anew from its weights.
        return {**self.__dict__, **({"extractor": None} if self.own_network else {})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._use(self.extractor)

    def __deepcopy__(self, memo: dict[int, Any]) -> BatchFeatures:
        made = memo[id(self)] = copy.copy(self)
        if self.as_given:  # a module that moves with whoever holds it
            made._use(copy.deepcopy(self.extractor, memo))
        return made


def _equal(a: Tensor, b: Tensor) -> bool:
    """By value: that a tensor is the same object and of the same version proves nothing, since a
    CUDA graph that is replayed, a kernel of another library and NumPy write without telling. On a
    GPU the answer is waited for; so are the features of every batch, a moment before, when they are
    checked for NaN."""
    alike = (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
    return alike and a.device.type != "meta" and torch.equal(a, b)


def as_uint8(images: Tensor, normalize: bool) -> Tensor:
    """(n, h, w, 3) of images with 3 channels or 1, uint8 or with ``normalize`` floats from 0 to
    1, which become round(255 x).

    Raises:
        ValueError: (an InputError) another shape or dtype, or floats out of range.
    """
    if not isinstance(images, Tensor):
        raise InputTypeError(f"images: got a {type(images).__name__}; give a torch tensor")
    images = to_rgb(images, channels_axis(tuple(images.shape), "images"))
    if not normalize:
        if images.dtype != torch.uint8:
            raise InputError(
                f"images: got {images.dtype}; give uint8, or normalize=True for floats from 0 to 1"
            )
        return images.detach().contiguous()
    if not images.is_floating_point():
        raise InputError(
            f"images: got {images.dtype} with normalize=True; give floats from 0 to 1, or leave "
            "normalize out for uint8"
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
